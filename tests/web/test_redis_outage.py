"""Redis outages under load: calls become slower, and none fails."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from app.adapters.redis.connection import TIMEOUT_SECONDS
from app.adapters.redis.wire import SMALL_REPLY_BYTES
from app.services.tasks.cache import TASK_KIND
from tests.support.clock import HandClock
from tests.support.redis_server import RedisServer
from tests.support.service import SECONDS, Service, sandbox, serving, settings

CALLERS = 10
ROUNDS = 5


async def start(service: Service, token: str) -> list[str]:
    started = [await service.ask("luma_generate_video", {"prompt": f"Fox {n}"}, token=token) for n in range(4)]
    return [result["task_id"] for result in started]


async def under_load(service: Service, owned: dict[str, list[str]]) -> None:
    """Make many concurrent reads, and require that each is answered in full and with its own tasks."""

    async def ask(token: str, task_ids: list[str]) -> None:
        for _ in range(ROUNDS):
            batch = await service.ask("luma_get_tasks_batch", {"task_ids": task_ids}, token=token)
            assert [task["task_id"] for task in batch["tasks"]] == task_ids
            assert batch["unavailable"] == []

    await asyncio.gather(*(ask(token, task_ids) for token, task_ids in owned.items()))


async def test_no_call_fails_while_redis_is_killed_hung_and_restarted(
    clock: HandClock, fragile_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    backend = sandbox(clock, seconds=1000)  # running tasks are in Redis alone, so every round needs it
    async with serving(settings(redis_url=fragile_redis.url), backend, clock) as service:
        owned = {f"token-{n}": await start(service, f"token-{n}") for n in range(CALLERS)}
        happenings: list[Callable[[], None]] = [
            fragile_redis.stop,
            fragile_redis.start,
            fragile_redis.hang,
            fragile_redis.resume,
        ]
        with caplog.at_level(logging.WARNING, logger="app"):
            for happening in happenings:
                load = asyncio.create_task(under_load(service, owned))
                await asyncio.to_thread(happening)
                await load
                clock.advance(4)  # past the pending time to live, so that the next round asks Redis and the backend
                await under_load(service, owned)
        warnings = [record.getMessage() for record in caplog.records if "Redis" in record.getMessage()]
    assert [message.startswith("Redis does not answer") for message in warnings] == [True, False, True, False]


async def test_cached_results_are_used_again_after_redis_returns(clock: HandClock, fragile_redis: RedisServer) -> None:
    backend = sandbox(clock)
    values = settings(redis_url=fragile_redis.url)
    async with serving(values, backend, clock) as service:
        task_ids = await start(service, "token-a")
        clock.advance(SECONDS)
        await service.ask("luma_get_tasks_batch", {"task_ids": task_ids})
    async with serving(values, backend, clock) as fresh:
        fragile_redis.hang()
        reads = backend.reads
        await fresh.ask("luma_get_tasks_batch", {"task_ids": task_ids[:1]})
        assert backend.reads == reads + 1
        fragile_redis.resume()
        clock.advance(2)
        await fresh.ask("luma_get_tasks_batch", {"task_ids": task_ids[1:]})
        assert backend.reads == reads + 1, "the other tasks come from Redis again"


async def test_values_that_others_filled_redis_with_cost_their_own_caller_one_read(
    clock: HandClock, redis_server: RedisServer
) -> None:
    """The reply is above the limit, which is no outage: others read on, and the next write replaces the values."""
    backend, values = sandbox(clock), settings(redis_url=redis_server.url)
    async with serving(values, backend, clock) as service:
        owned = {token: await start(service, token) for token in ("token-a", "token-b")}
        clock.advance(SECONDS)
        for token, task_ids in owned.items():
            await service.ask("luma_get_tasks_batch", {"task_ids": task_ids}, token=token)
    with redis_server.client() as client:
        [filled] = client.scan_iter(match=f"*:{TASK_KIND}:{owned['token-a'][0]}", count=1000)
        client.set(filled, b"x" * 2 * SMALL_REPLY_BYTES, keepttl=True)
    reads = []
    async with serving(values, backend, clock) as fresh:
        for token in ("token-a", "token-b", "token-a"):
            before = backend.reads
            await fresh.ask("luma_get_tasks_batch", {"task_ids": owned[token]}, token=token)
            reads.append(backend.reads - before)
        failures = _failures(fresh)
    async with serving(values, backend, clock) as another:
        before = backend.reads
        await another.ask("luma_get_tasks_batch", {"task_ids": owned["token-a"]}, token="token-a")
        assert backend.reads == before
    assert (reads, failures) == ([1, 0, 0], 0)


async def test_a_hung_redis_is_tried_once_and_then_skipped(clock: HandClock, fragile_redis: RedisServer) -> None:
    async with serving(settings(redis_url=fragile_redis.url), sandbox(clock), clock) as service:
        task_ids = await start(service, "token-a")
        fragile_redis.hang()
        before = _failures(service)
        for _ in range(20):
            clock.advance(0.01)
            await service.ask("luma_get_tasks_batch", {"task_ids": task_ids})
        assert _failures(service) == before + 1
        ready = await service.http.get(f"{service.url}/readyz")
        fragile_redis.resume()
    assert ready.status_code == 200
    assert ready.json()["status"] == "degraded"


WRITE_FAULTS = {
    "Redis is full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "Redis is a replica": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
}


@pytest.mark.parametrize("told", WRITE_FAULTS)
async def test_a_read_only_redis_serves_cached_values_and_is_logged_once(
    clock: HandClock, fragile_redis: RedisServer, caplog: pytest.LogCaptureFixture, told: str
) -> None:
    begin, end = WRITE_FAULTS[told]
    backend, values = sandbox(clock), settings(redis_url=fragile_redis.url)
    async with serving(values, backend, clock) as service:
        finished = await start(service, "token-a")
        clock.advance(SECONDS)
        await service.ask("luma_get_tasks_batch", {"task_ids": finished})
    with fragile_redis.client() as client:
        client.execute_command(*begin)
        async with serving(values, backend, clock) as fresh:
            for task_id in finished:
                running = (await fresh.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
                await fresh.ask("luma_get_task", {"task_id": running})  # a write that is refused
                reads = backend.reads
                await fresh.ask("luma_get_task", {"task_id": task_id})
                assert backend.reads == reads, "a finished task comes from Redis"
            client.execute_command(*end)
            clock.advance(4)
            await fresh.ask("luma_get_task", {"task_id": running})
    lines = [record.getMessage() for record in caplog.records if record.name == "app.services.tasks.circuit_breaker"]
    assert [line.startswith(told) for line in lines] == [True, False]
    assert "cached results are still served" in lines[0]
    assert lines[1].startswith("Redis answers again")


async def test_two_timeouts_of_redis_take_less_than_a_second() -> None:
    assert 2 * TIMEOUT_SECONDS < 1


def _failures(service: Service) -> float:
    text = service.assembly.metrics.exposition().decode()
    lines = [line for line in text.splitlines() if line.startswith("luma_mcp_store_failures_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
