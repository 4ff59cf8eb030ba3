"""A two-level cache of rendered tasks: the memory of this process, then the store that replicas share."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.freshness import CachePolicy, time_to_live
from app.domain.rendered import RenderedTask
from app.domain.task import Task
from app.ports.rendering import Renderer
from app.ports.store import Store
from app.ports.telemetry import Telemetry
from app.services.limits.backend_limits import StoreReads
from app.services.limits.fair_limiter import FairLimiter
from app.services.limits.work_turns import WorkTurns
from app.services.tasks.doorkeeper import Doorkeeper
from app.services.tasks.generational_cache import GenerationalCache
from app.services.tasks.sealed_values import SealedValues
from app.services.tasks.stored_format import CLOCKS_DIFFER_SECONDS, Malformed, pack_task, unpack_task

TASK_KIND = "task:5"
"""Part of every key. Raise its number when the stored format changes, so that two releases can share a store."""


MAX_WAIT_SECONDS = 2.0
"""Default of the longest wait for a turn to read the store. After that, tasks count as absent: the backend is asked."""


@dataclass(frozen=True, slots=True)
class CacheHits:
    """Tasks found in the cache.

    Attributes:
        tasks: the tasks by id, in the order of the request.
        local_hits: number of tasks found in this process.
        shared_hits: number of tasks found in the store.

    """

    tasks: dict[str, RenderedTask]
    local_hits: int
    shared_hits: int


class TaskCache:
    """Caches final tasks in this process, bounded in bytes, and all tasks in the store, running ones for seconds.

    A task is rendered when it is put. Both levels hold the rendered bytes. A stored value that cannot be unsealed with
    its key is a miss.
    """

    def __init__(  # noqa: PLR0913 - two levels, a policy and a clock
        self,
        store: Store,
        sealed_values: SealedValues,
        policy: CachePolicy,
        telemetry: Telemetry,
        *,
        render: Renderer,
        reads: StoreReads,
        turns: WorkTurns,
        local_bytes: int,
        wall_clock: Callable[[], float],
        longest_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """Hold at most `local_bytes` of final tasks in this process. `wall_clock` returns unix seconds.

        `reads` limits concurrent reads of the store, because each may return the values of hundreds of tasks.
        A read waits `longest_wait_seconds` for its turn. Many tasks are unpacked and rendered in `turns`.
        """
        self._turns = turns
        self._longest_wait_seconds = longest_wait_seconds
        self._store = store
        self._sealed = sealed_values
        self._policy = policy
        self._telemetry = telemetry
        self._render = render
        self._reads = reads
        self._copies: GenerationalCache[str, RenderedTask] = GenerationalCache(local_bytes, _weigh)
        self._doorkeeper = Doorkeeper()
        self._wall_clock = wall_clock

    @property
    def local_bytes(self) -> int:
        """Memory that tasks use in this process now, in bytes: an upper bound."""
        return self._copies.weight

    async def get_many(self, tenant: str, task_ids: Sequence[str]) -> CacheHits:
        """Return the cached tasks among `task_ids`, which are distinct.

        A turn covers everything up to the answer of the call, if no task must be read from the backend. It comes first,
        because calls that wait for one should hold neither tasks nor a place at the store.
        """
        await self._turns.wait_for_batch(tenant, len(task_ids))
        prefix = self._sealed.key(tenant, "")
        keys = [prefix + task_id for task_id in task_ids]
        local = self._local(keys)
        if len(local) == len(task_ids):
            return CacheHits(local, len(local), 0)
        reads = self._reads.limiter(len(task_ids))
        accepted = reads.take_at_once(tenant)
        if accepted is None:
            local = {}  # drops the references: hundreds of callers may wait, and would keep evicted tasks in memory
            accepted = await self._wait_for_turn(reads, tenant)
            local = self._local(keys)
            if accepted is None:
                return CacheHits(local, len(local), 0)
        try:
            absent = task_ids if not local else [task_id for task_id in task_ids if task_id not in local]
            if absent is not task_ids:
                keys = [prefix + task_id for task_id in absent]
            shared = {}
            if absent:
                shared = self._unpacked(keys, absent, await self._store.get_many(keys))
        finally:
            reads.give_back(tenant, accepted=accepted)
        if not local:
            return CacheHits(shared, 0, len(shared))
        tasks = local | shared
        in_order = {task_id: tasks[task_id] for task_id in task_ids if task_id in tasks}
        return CacheHits(in_order, len(local), len(shared))

    async def _wait_for_turn(self, reads: FairLimiter, tenant: str) -> bool | None:
        """Wait for a turn in `reads`. Return `accepted` for `give_back`; None on timeout.

        A timeout is counted as a failure of the store, and the tasks count as absent.
        """
        try:
            async with asyncio.timeout(self._longest_wait_seconds):
                return await reads.take(tenant)
        except TimeoutError:
            self._telemetry.store_failed("wait")
            return None

    def _local(self, keys: Sequence[str]) -> dict[str, RenderedTask]:
        """Return the fresh tasks in this process, by id."""
        now = self._wall_clock()
        copies = self._copies.get_many(keys)
        return {task.id: task for task in copies if task is not None and task.fresh_until > now}

    async def put_many(self, tenant: str, tasks: Sequence[Task]) -> dict[str, RenderedTask]:
        """Render and cache tasks that were just read from the backend, and return them by id."""
        await self._turns.wait_for_batch(tenant, len(tasks))
        now = self._wall_clock()
        rendered, values, ttl_seconds = {}, {}, {}
        for task in tasks:
            key, ttl = self._sealed.key(tenant, task.id), time_to_live(task, now, self._policy)
            rendered_task = rendered[task.id] = self._render(task)._replace(fresh_until=now + ttl)
            if (value := self._sealed.seal(key, pack_task(rendered_task))) is not None:
                values[key], ttl_seconds[key] = value, ttl
        copies = {self._sealed.key(tenant, task.id): task for task in rendered.values() if task.is_final}
        self._copies.put_many(copies, sum(map(_weigh, copies.values())))
        await self._store.put_many(values, ttl_seconds)
        return rendered

    async def invalidate_running(self, tenant: str, task_id: str) -> None:
        """Remove the task from the store unless it is final, so that the next lookup reads the backend."""
        cached = await self.get_many(tenant, [task_id])
        if task_id not in cached.tasks or not cached.tasks[task_id].is_final:
            await self._store.remove_many([self._sealed.key(tenant, task_id)])

    def _unpacked(
        self, keys: Sequence[str], task_ids: Sequence[str], values: Sequence[bytes | None]
    ) -> dict[str, RenderedTask]:
        """Return the tasks of all valid and fresh values, by id. Count invalid values, and cache some final tasks."""
        oldest = self._wall_clock() - CLOCKS_DIFFER_SECONDS
        fresh: dict[str, RenderedTask] = {}
        final: dict[str, RenderedTask] = {}
        for key, task_id, value, packed in zip(
            keys, task_ids, values, self._sealed.unseal_each(keys, values), strict=True
        ):
            if packed is None:
                if value is not None:
                    self._telemetry.value_refused()
                continue
            try:
                task = unpack_task(task_id, packed)
            except Malformed:
                self._telemetry.value_refused()
                continue
            if task is not None and task.fresh_until >= oldest:
                fresh[task_id] = task
                if task.is_final:
                    final[key] = task
        self._cache_if_read_before(final)
        return fresh

    def _cache_if_read_before(self, final: dict[str, RenderedTask]) -> None:
        """Cache final tasks in this process if it has read them from the store before.

        With many callers, tasks that are read once would evict those that are read repeatedly.
        """
        read_before = self._doorkeeper.test_and_set(list(final))
        if any(read_before):
            copies = {key: task for (key, task), is_known in zip(final.items(), read_before, strict=True) if is_known}
            self._copies.put_many(copies, sum(map(_weigh, copies.values())))


def _weigh(task: RenderedTask) -> int:
    return task.size_bytes
