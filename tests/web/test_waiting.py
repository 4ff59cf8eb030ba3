"""Calls with wait_seconds: they return when the tasks are finished, and callers on all replicas share the polling."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from app.adapters.sandbox.engine import Sandbox
from tests.support.clock import HandClock, while_time_passes
from tests.support.redis_server import RedisServer
from tests.support.service import Service, sandbox, serving, settings


async def started(service: Service, count: int) -> list[str]:
    results = [await service.ask("luma_generate_video", {"prompt": f"Fox {n}"}) for n in range(count)]
    return [result["task_id"] for result in results]


def batch(service: Service, task_ids: list[str], wait_seconds: float) -> Awaitable[Any]:
    return service.ask("luma_get_tasks_batch", {"task_ids": task_ids, "wait_seconds": wait_seconds})


@asynccontextmanager
async def replicas(backend: Sandbox, clock: HandClock, redis: RedisServer) -> AsyncIterator[tuple[Service, Service]]:
    values = settings(redis_url=redis.url)
    async with serving(values, backend, clock) as one, serving(values, backend, clock) as other:
        yield one, other


async def test_ten_generations_and_one_question_return_ten_videos(clock: HandClock) -> None:
    backend = sandbox(clock, seconds=30)
    async with serving(settings(), backend, clock) as service:
        task_ids = await started(service, 10)
        answer = await while_time_passes(clock, batch(service, task_ids, 50))
    assert answer["counts"]["completed"] == 10
    assert answer["ask_again_in_seconds"] is None
    assert max(map(len, backend.read_ids)) == 10, "all ten were read together"


async def test_a_wait_that_times_out_returns_the_current_states(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock, seconds=1000), clock) as service:
        task_ids = await started(service, 2)
        began = clock.now
        answer = await while_time_passes(clock, batch(service, task_ids, 20))
    assert 20 <= clock.now - began < 25
    assert answer["counts"]["pending"] + answer["counts"]["processing"] == 2
    assert answer["ask_again_in_seconds"] > 0


async def test_finished_tasks_are_answered_without_waiting(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        task_ids = await started(service, 2)
        clock.advance(10)
        await batch(service, task_ids, 0)
        answer = await batch(service, task_ids, 50)
    assert answer["counts"]["completed"] == 2


async def test_an_unknown_id_ends_its_wait_at_once(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        began = clock.now
        answer = await while_time_passes(clock, batch(service, ["nobody-knows"], 50))
    assert answer["missing"] == ["nobody-knows"]
    assert clock.now - began < 5


async def test_reads_follow_the_schedule_for_one_caller_and_for_fifty_over_two_replicas(
    clock: HandClock, redis_server: RedisServer
) -> None:
    counted = []
    for callers in (1, 50):
        redis_server.flush_all()
        backend = sandbox(clock, seconds=1000)
        async with replicas(backend, clock, redis_server) as (one, other):
            task_ids = await started(one, 10)
            questions = [batch(one if n % 2 else other, task_ids, 45) for n in range(callers)]
            await while_time_passes(clock, asyncio.gather(*questions))
        counted.append(backend.reads)
        assert {len(ids) for ids in backend.read_ids} == {10}
    # The first read comes at 10 s of age, the others at least 5 s apart: at most 8 in 45 s.
    assert max(counted) <= 8
    assert min(counted) >= 4
