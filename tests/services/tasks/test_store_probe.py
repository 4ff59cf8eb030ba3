"""SharedProbe: requests within a second share one probe, also through /readyz, which needs no token."""

import asyncio

import pytest

from app.ports.store import StoreUnavailable
from app.services.tasks.store_probe import SHARED_SECONDS, SharedProbe
from tests.support.clock import HandClock
from tests.support.redis_server import RedisServer
from tests.support.service import sandbox, serving, settings


async def test_requests_within_a_second_share_one_probe(clock: HandClock) -> None:
    tries, go_on = 0, asyncio.Event()

    async def try_store() -> None:
        nonlocal tries
        tries += 1
        await go_on.wait()

    probe = SharedProbe(try_store, clock)
    asking = [asyncio.create_task(probe()) for _ in range(10)]
    leaving = asyncio.create_task(probe())
    await asyncio.sleep(0)
    leaving.cancel()
    go_on.set()
    await asyncio.gather(*asking)
    await probe()
    assert tries == 1
    clock.advance(SHARED_SECONDS)
    await probe()
    assert tries == 2


async def test_a_failed_probe_raises_for_all_requests_that_share_it(clock: HandClock) -> None:
    async def try_store() -> None:
        raise StoreUnavailable("gone")

    probe = SharedProbe(try_store, clock)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="gone"):
            await probe()


async def test_concurrent_requests_for_readyz_probe_redis_once(clock: HandClock, redis_server: RedisServer) -> None:
    async with serving(settings(redis_url=redis_server.url), sandbox(clock), clock) as service:
        with redis_server.client() as client:
            client.config_resetstat()
            answers = await asyncio.gather(*(service.http.get(f"{service.url}/readyz") for _ in range(50)))
            tries = client.info("commandstats")["cmdstat_unlink"]["calls"]
    assert {answer.json()["status"] for answer in answers} == {"ready"}
    assert tries <= 3, "one probe, or a few on a slow machine"
