"""Answers that were seen before: the tenant's own, in this process and in the store behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.freshness import Lifetimes, time_to_live
from app.domain.task import Task
from app.ports.store import Store
from app.ports.telemetry import Telemetry
from app.services.bounded import Bounded
from app.services.fair_limiter import FairLimiter
from app.services.owned import NotOurs, Owned

TASK_KIND = "task:4"
"""Part of every key; raise it when the stored form changes, so that replicas of two releases can share a store."""


@dataclass(frozen=True, slots=True)
class Cached:
    """What was found: the tasks by id, in the order asked, and how many came from this process and from the store."""

    tasks: dict[str, Task]
    local_hits: int
    shared_hits: int


@dataclass(frozen=True, slots=True)
class _Copy:
    task: Task
    until: float
    size_bytes: int


class TaskCache:
    """Two levels: final tasks in this process, bounded, before the store, which holds running ones too, for moments.

    No value is trusted for being in the store: it must carry our mark for its key, parse, answer to its id, and hold no
    text that the adapter would not have let in.
    """

    def __init__(  # noqa: PLR0913 - a cache is its two levels, its rules and its two clocks
        self,
        store: Store,
        owned: Owned[Task],
        lifetimes: Lifetimes,
        telemetry: Telemetry,
        *,
        reads: FairLimiter,
        local_bytes: int,
        wall_clock: Callable[[], float],
        monotonic_clock: Callable[[], float],
    ) -> None:
        """Keep final tasks of at most `local_bytes` here, the rest as `owned` says; `wall_clock` gives unix seconds.

        `reads` has the places for questions to the store: each may bring the values of some hundred tasks.
        """
        self._store = store
        self._owned = owned
        self._lifetimes = lifetimes
        self._telemetry = telemetry
        self._reads = reads
        self._copies: Bounded[tuple[str, str], _Copy] = Bounded(local_bytes, lambda copy: copy.size_bytes)
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock

    async def get_many(self, tenant: str, task_ids: Sequence[str]) -> Cached:
        """Return those of the tasks, each named once, that need no question to the backend."""
        local = self._local(tenant, task_ids)
        if len(local) == len(task_ids):
            return Cached(local, len(local), 0)
        elsewhere = [task_id for task_id in task_ids if task_id not in local]
        shared = await self._shared(tenant, elsewhere)
        found = local | shared
        in_order = {task_id: found[task_id] for task_id in task_ids if task_id in found}
        return Cached(in_order, len(local), len(shared))

    async def put_many(self, tenant: str, tasks: Sequence[Task]) -> None:
        """Remember what the backend just said."""
        now = self._wall_clock()
        by_key = {self._owned.key(tenant, task.id): task for task in tasks}
        ttl_seconds = {key: time_to_live(task, now, self._lifetimes) for key, task in by_key.items()}
        packed = ((key, self._owned.pack(key, task, now + ttl_seconds[key])) for key, task in by_key.items())
        values = {key: value for key, value in packed if value is not None}
        self._copy(tenant, tasks, now)
        await self._store.put_many(values, ttl_seconds)

    async def forget_running(self, tenant: str, task_id: str) -> None:
        """Let the next question about the task reach the backend, unless it has ended already."""
        cached = await self.get_many(tenant, [task_id])
        if task_id not in cached.tasks or not cached.tasks[task_id].is_final:
            await self._store.remove_many([self._owned.key(tenant, task_id)])

    def _local(self, tenant: str, task_ids: Sequence[str]) -> dict[str, Task]:
        now, copies = self._monotonic_clock(), self._copies
        found = {
            task_id: copy.task
            for task_id in task_ids
            if (copy := copies.get((tenant, task_id))) is not None and copy.until > now
        }
        copies.used((tenant, task_id) for task_id in found)
        return found

    async def _shared(self, tenant: str, task_ids: Sequence[str]) -> dict[str, Task]:
        keys = [self._owned.key(tenant, task_id) for task_id in task_ids]
        async with self._reads.place(tenant):
            values, now = await self._store.get_many(keys), self._wall_clock()
            found = {
                task_id: task
                for task_id, key, value in zip(task_ids, keys, values, strict=True)
                if value is not None and (task := self._unpack(key, task_id, value, now)) is not None
            }
        self._copy(tenant, list(found.values()), now)
        return found

    def _copy(self, tenant: str, tasks: Sequence[Task], now: float) -> None:
        until = self._monotonic_clock()
        for task in tasks:
            if task.is_final:
                copy = _Copy(task, until + time_to_live(task, now, self._lifetimes), task.size_bytes)
                self._copies[tenant, task.id] = copy

    def _unpack(self, key: str, task_id: str, value: bytes, now: float) -> Task | None:
        try:
            task = self._owned.unpack(key, value, now)
            if task is None or (task.id == task_id and task.has_plausible_times and task.has_showable_text):
                return task
        except NotOurs:
            pass
        self._telemetry.value_refused()
        return None
