"""The queue of Redis operations: it is fair and bounded, and time in it is not counted as a slow Redis."""

import asyncio

import pytest

from app.adapters.redis.command_queue import CONNECTIONS, MAX_WAITING, PER_TENANT, CommandQueue
from app.adapters.redis.store import connect
from app.ports.store import StoreBusy
from app.services.tasks.circuit_breaker import FailOpenStore
from tests.support.clock import HandClock
from tests.support.redis_server import RedisServer
from tests.support.telemetry import Notes

KEY = "luma-mcp:tests:{tenant-a}:task:5:a"


async def test_time_in_the_queue_is_not_counted_as_a_slow_redis(redis_server: RedisServer) -> None:
    """Each operation takes 0.1 s. The last one waits for longer than the timeout of an operation."""
    store, refusals = connect(redis_server.url), list[str]()
    store.connection.report_to(refusals.append)

    async def slow_operation(number: int) -> None:
        async with store.connection.operation(f"tenant-{number}"):
            await asyncio.sleep(0.1)

    await asyncio.gather(*map(slow_operation, range(CONNECTIONS * 6)))
    assert refusals == []
    await store.aclose()


async def test_one_tenant_cannot_use_all_connections() -> None:
    queue, over, order = CommandQueue(), asyncio.Event(), list[str]()

    async def operation(tenant: str) -> None:
        async with queue.place(tenant):
            order.append(tenant)
            await over.wait()

    tasks = [asyncio.create_task(operation("flood")) for _ in range(1_000)]
    tasks.append(asyncio.create_task(operation("other")))
    await asyncio.sleep(0)
    assert order == ["flood"] * PER_TENANT + ["other"]
    over.set()
    await asyncio.gather(*tasks)


async def test_an_operation_that_waits_too_long_is_refused_and_leaves_the_queue() -> None:
    reasons, over = list[str](), asyncio.Event()
    queue = CommandQueue(reasons.append, longest_wait_seconds=0.001)

    async def operation() -> None:
        async with queue.place("flood"):
            await over.wait()

    tasks = [asyncio.create_task(operation()) for _ in range(PER_TENANT)]
    await asyncio.sleep(0)
    with pytest.raises(StoreBusy, match="waited too long"):
        await queue.take("flood")
    assert reasons == ["an operation waited too long"]
    over.set()
    await asyncio.gather(*tasks)
    assert queue.is_idle, "the refused operation holds no place, and waits for none"


async def test_a_full_queue_is_not_an_outage_of_redis(redis_server: RedisServer, clock: HandClock) -> None:
    refusals = list[str]()
    store, notes, over = connect(redis_server.url), Notes(), asyncio.Event()
    store.connection.report_to(refusals.append)
    cache = FailOpenStore(store, notes, clock)

    async def operation() -> None:
        async with store.connection.operation("flood"):
            await over.wait()

    tasks = [asyncio.create_task(operation()) for _ in range(PER_TENANT + MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(StoreBusy):
        await store.put_many({KEY: b"x"}, {KEY: 60.0})
    assert await cache.get_many([KEY]) == [None]
    assert (refusals, notes.store_failures) == (["busy", "busy"], [])
    over.set()
    await asyncio.gather(*tasks)
    await cache.put_many({KEY: b"x"}, {KEY: 60.0})
    assert await cache.get_many([KEY]) == [b"x"], "it is asked again at once"
    await store.aclose()
