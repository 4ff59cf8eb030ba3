"""TenantPoller: pauses and log lines after unexpected exceptions, what a step reads, and the quota of awaited tasks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.memory.coordination import MemoryCoordination
from app.domain.errors import BackendError, LumaError, RateLimited
from app.domain.freshness import CachePolicy
from app.domain.rendered import TaskResult
from app.domain.task import Task, TaskState
from app.mcp_server.tools.rendering import render
from app.ports.auth import Caller
from app.services.limits.backend_limits import StoreReads
from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.work_turns import WorkTurns
from app.services.polling.callback_trust import CallbackTrust
from app.services.polling.poller import LOADED_TOGETHER, PollerDependencies
from app.services.polling.registry import PollerRegistry
from app.services.polling.watched_tasks import MAX_AWAITED, MAX_AWAITED_PER_CALLER
from app.services.tasks.cache import TaskCache
from app.services.tasks.snapshots import TaskSnapshots
from tests.support.callers import caller
from tests.support.clock import HandClock, while_time_passes
from tests.support.keeping import KEYS, RECORDS, TASKS
from tests.support.stores import CountingStore
from tests.support.telemetry import Notes

CALLERS = [caller(f"tenant-{number}") for number in range(10)]


class FailingStore(CountingStore):
    """A store whose reads raise an unexpected exception."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append(list(keys))
        raise RuntimeError("odd")


class FailingReader:
    """Counts reads, each of which raises an unexpected exception."""

    def __init__(self) -> None:
        self.reads = 0

    async def __call__(self, _caller: Caller, _task_ids: Sequence[str]) -> Mapping[str, TaskResult]:
        self.reads += 1
        raise RuntimeError("odd")


class RunningTasks:
    """Reads running tasks, and records the ids of each read."""

    def __init__(self, clock: HandClock) -> None:
        self.reads: list[list[str]] = []
        self._clock = clock

    async def __call__(self, _caller: Caller, task_ids: Sequence[str]) -> Mapping[str, TaskResult]:
        self.reads.append(list(task_ids))
        now = self._clock()
        return {task_id: render(Task(task_id, TaskState.PROCESSING, created_at=now)) for task_id in task_ids}


def registry_over(
    store: CountingStore, read: Callable[[Caller, Sequence[str]], Awaitable[Mapping[str, TaskResult]]], clock: HandClock
) -> PollerRegistry:
    coordination = MemoryCoordination(clock)
    trust = CallbackTrust(
        "", ACEDATACLOUD, coordination, KEYS, on_missing=lambda: None, on_doubt_change=lambda _is: None
    )
    cache = TaskCache(
        store,
        TASKS,
        CachePolicy(60.0, 1.0),
        Notes(),
        render=render,
        reads=StoreReads(lambda _tenant: True),
        turns=WorkTurns(lambda _tenant: True),
        local_bytes=1000,
        wall_clock=clock,
    )
    awaited = CallerQuota(QuotaLimits(MAX_AWAITED, MAX_AWAITED_PER_CALLER, MAX_AWAITED), lambda _subject: True)
    snapshots = TaskSnapshots(store, RECORDS, render=render, wall_clock=clock, monotonic_clock=clock)
    return PollerRegistry(
        PollerDependencies(read, cache, snapshots, coordination, KEYS, trust, ACEDATACLOUD, awaited, clock, clock.sleep)
    )


async def poll_for(pollers: PollerRegistry, clock: HandClock, seconds: float, caller: Caller) -> dict[str, TaskResult]:
    async with pollers.watching(caller, ["task-0"]) as subscription:
        await clock.sleep(seconds)
        return subscription.answers()


async def poll_for_all(pollers: PollerRegistry, clock: HandClock, seconds: float) -> list[dict[str, TaskResult]]:
    watching = (poll_for(pollers, clock, seconds, one) for one in CALLERS)
    answers = await while_time_passes(clock, asyncio.gather(*watching))
    await pollers.aclose()
    return answers


async def test_a_read_that_raises_is_repeated_on_schedule_and_logged_once(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    read = FailingReader()
    answers = await poll_for_all(registry_over(CountingStore(), read, clock), clock, 50.0)
    assert [type(one["task-0"]) for one in answers] == [BackendError] * len(CALLERS)
    assert all(isinstance(one["task-0"], LumaError) and one["task-0"].is_retryable for one in answers)
    assert len(CALLERS) <= read.reads <= len(CALLERS) * 11, "as after any BackendError, 5 s apart"
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1


async def test_a_poller_that_raises_pauses_longer_each_time_and_logs_once_a_minute(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = FailingStore()
    await poll_for_all(registry_over(store, FailingReader(), clock), clock, 100.0)
    assert len(store.asked) <= len(CALLERS) * 6, "after 2, 6, 14, 30 and 62 s, and not every 2"
    assert 1 <= len([one for one in caplog.records if one.levelno >= logging.WARNING]) <= 2


async def test_a_wait_for_a_new_task_reads_that_task_alone(clock: HandClock) -> None:
    store, read = CountingStore(), RunningTasks(clock)
    pollers = registry_over(store, read, clock)
    many = [f"task-{number}" for number in range(500)]

    async def one_after_the_other() -> None:
        async with pollers.watching(CALLERS[0], many):
            await clock.sleep(0.1)
            store.asked.clear()
            for number in range(5):
                async with pollers.watching(CALLERS[0], [f"new-{number}"]):
                    await clock.sleep(0.01)

    await while_time_passes(clock, one_after_the_other(), step=0.01)
    await pollers.aclose()
    assert read.reads == [many, *([f"new-{number}"] for number in range(5))]
    assert max(map(len, store.asked)) == 1, "stored values of the others are not read either"


async def test_many_tasks_are_loaded_from_the_store_in_parts(clock: HandClock) -> None:
    store = CountingStore()
    pollers = registry_over(store, RunningTasks(clock), clock)
    many = [f"task-{number}" for number in range(LOADED_TOGETHER * 2 + 1)]

    async def wait() -> int:
        async with pollers.watching(CALLERS[0], many) as subscription:
            await clock.sleep(20.0)
            return len(subscription.answers())

    assert await while_time_passes(clock, wait()) == len(many)
    await pollers.aclose()
    assert max(map(len, store.asked)) == LOADED_TOGETHER


async def test_tasks_that_are_nearly_due_are_read_with_a_due_one(clock: HandClock) -> None:
    read = RunningTasks(clock)
    pollers = registry_over(CountingStore(), read, clock)

    async def begun_four_seconds_apart() -> None:
        async with pollers.watching(CALLERS[0], ["first"]):
            await clock.sleep(4.0)
            async with pollers.watching(CALLERS[0], ["second"]):
                await clock.sleep(200.0)

    await while_time_passes(clock, begun_four_seconds_apart())
    await pollers.aclose()
    assert read.reads[:2] == [["first"], ["second"]]
    assert {frozenset(ids) for ids in read.reads[-5:]} == {frozenset({"first", "second"})}


async def test_awaited_tasks_are_limited_per_token(clock: HandClock) -> None:
    pollers = registry_over(CountingStore(), FailingReader(), clock)
    most = [f"task-{number}" for number in range(MAX_AWAITED_PER_CALLER)]
    async with pollers.watching(CALLERS[0], most):
        with pytest.raises(RateLimited):
            async with pollers.watching(CALLERS[0], ["task-0", "one more"]):
                pass
        async with pollers.watching(CALLERS[0], ["task-0"]), pollers.watching(CALLERS[1], ["one more"]):
            assert pollers.callers == 3
    with pytest.raises(RateLimited):
        async with pollers.watching(CALLERS[0], [*most, "one more"]):
            pass
    async with pollers.watching(CALLERS[0], most) as released:
        assert pollers.callers == 1
        released.release(most)
        assert released.settled
        async with pollers.watching(CALLERS[0], [f"another {task_id}" for task_id in most]):
            assert pollers.callers == 2
    await pollers.aclose()
