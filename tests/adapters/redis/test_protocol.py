"""A Redis without the command HELLO, like old servers and some proxies: everything works without a setting."""

import asyncio
from collections.abc import Iterator

import pytest

from app.adapters.redis.store import connect
from app.services.tasks.store_probe import probe
from tests.support.clock import HandClock
from tests.support.redis_forms import PATIENT_SECONDS
from tests.support.redis_server import RedisServer
from tests.support.service import sandbox, serving, settings

KEYED = {"prompt": "A fox", "idempotency_key": "fox-1"}


@pytest.fixture(params=[None, "word"])
def old_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    server = RedisServer("--rename-command", "HELLO", "", password=request.param)
    server.start()
    yield server
    server.close()


async def test_store_coordination_and_channel_work_without_hello(
    clock: HandClock, old_redis: RedisServer, database_url: str
) -> None:
    secret = f":{old_redis.password}@" if old_redis.password is not None else ""
    values = settings(redis_url=old_redis.url.replace("redis://", f"redis://{secret}"), database_url=database_url)
    async with serving(values, sandbox(clock), clock) as one, serving(values, sandbox(clock), clock) as other:
        bought = await one.ask("luma_generate_video", KEYED)
        assert (await other.ask("luma_generate_video", KEYED))["task_id"] == bought["task_id"]
        shared = one.assembly.shared
        await probe(shared.store, shared.coordination, shared.keys, received_within_seconds=2.0)
        ready = await one.http.get(f"{one.url}/readyz")
    assert ready.json() == {"status": "ready", "store": "redis", "store_status": "up", "database_status": "up"}


async def test_the_protocol_in_the_url_takes_precedence(redis_server: RedisServer) -> None:
    store = connect(f"{redis_server.url}?protocol=3", PATIENT_SECONDS)
    await store.client.config_resetstat()
    await asyncio.gather(*(store.ping() for _ in range(10)))
    seen = await store.client.info("commandstats")
    await store.aclose()
    assert "cmdstat_hello" in seen


@pytest.mark.parametrize("form", ["redis", "unix", "sentinel", "cluster"])
async def test_no_kind_of_redis_client_sends_hello(form: str, redis_urls: dict[str, str]) -> None:
    store = connect(redis_urls[form], PATIENT_SECONDS)
    await store.client.config_resetstat()
    await asyncio.gather(*(store.ping() for _ in range(10)), store.get_many(["{tenant-a}:key"]))
    seen = await store.client.info("commandstats")
    await store.aclose()
    assert "cmdstat_mget" in seen
    assert "cmdstat_hello" not in seen
