"""Polls the backend for one tenant's running tasks: one replica reads for all of them.

The replicas elect a leader through a lease. The leader reads every awaited task in one batch. The others (followers)
read its snapshots from the store. The lease of a leader that died expires. While the store is down, each process polls
for its own callers. Events between replicas only trigger a read; they never carry results. A process with an overdue
task reads for itself, because the leader may be unable to reach the backend.

A poller works in steps. A full step looks at all awaited tasks, when one is due or LOOK_SECONDS have passed. Between
full steps, a new call or an event causes a step for its own tasks alone, so it costs no more than these.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from app.domain.backend import BackendDescription
from app.domain.errors import BackendError
from app.domain.rendered import RenderedTask, TaskResult
from app.domain.snapshot import (
    TaskSnapshot,
    is_nearly_due,
    is_settled,
    next_read_at,
    snapshot_after_read,
    with_cached_task,
)
from app.ports.auth import Caller
from app.ports.coordination import Coordination, EventKind
from app.ports.store import StoreUnavailable
from app.services.concurrency import wait_for_event
from app.services.key_namespace import KeyNamespace
from app.services.limits.caller_quota import CallerQuota
from app.services.log_throttle import ThrottledExceptionLog
from app.services.polling.callback_trust import CallbackTrust
from app.services.polling.events import TaskEvent, pack
from app.services.polling.subscription import Subscription
from app.services.polling.watched_tasks import WatchedTasks
from app.services.tasks.cache import TaskCache
from app.services.tasks.snapshots import TaskSnapshots

LEASE_SECONDS = 10.0
"""Time after which another process replaces a dead leader, or reads tasks that the leader leaves overdue."""

LOOK_SECONDS = 2.0
"""Interval at which a follower reads the leader's snapshots, in case an event was lost."""

JITTER = 0.1
"""Largest random delay of a read, as a fraction of the pause before it. It keeps replicas from reading in step."""

MAX_WATCHED = 1000
"""Maximum number of tasks that one leader reads for other replicas, in addition to its own."""

LOADED_TOGETHER = 200
"""Maximum number of tasks that are loaded from the store at once.

While a task is loaded, three copies of it are in memory, of several KB each.
"""

MAX_PAUSE_SECONDS = 60.0
"""Longest pause after unexpected exceptions. It starts at LOOK_SECONDS and doubles with each consecutive exception."""

log = logging.getLogger(__name__)


def _fault_log() -> ThrottledExceptionLog:
    return ThrottledExceptionLog(
        log, "Polling for tasks failed unexpectedly. It continues with longer pauses, and callers may see old states."
    )


@dataclass(frozen=True, slots=True)
class PollerDependencies:
    """The dependencies of a poller.

    Attributes:
        read: reads tasks at the backend, and caches them.
        awaited: quota of distinct tasks that calls wait for.
        faults: log of unexpected exceptions.

    """

    read: Callable[[Caller, Sequence[str]], Awaitable[Mapping[str, TaskResult]]]
    cache: TaskCache
    snapshots: TaskSnapshots
    coordination: Coordination
    keys: KeyNamespace
    callback_trust: CallbackTrust
    backend: BackendDescription
    awaited: CallerQuota
    wall_clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    faults: ThrottledExceptionLog = field(default_factory=_fault_log)


class TenantPoller:
    """Polls for one tenant in this process, from its first waiting call to its last."""

    def __init__(self, caller: Caller, deps: PollerDependencies) -> None:
        self._caller = caller
        self._deps = deps
        self._watched = WatchedTasks(caller.principal.subject, deps.awaited, deps.wall_clock)
        self._lease_key = deps.keys.key(caller.principal.owner, "watcher")
        self._interest_key = deps.keys.key(caller.principal.owner, "awaited")
        self._holder = secrets.token_hex(8).encode()
        """The value of the lease while this poller holds it."""
        self._not_before: dict[str, float] = {}
        """By task id: unix time of the earliest next read, for the tasks of recent reads."""
        self._full_step_at = 0.0
        """Unix time of the next full step."""
        self._stopping = False
        self._running = asyncio.get_running_loop().create_task(self._run())

    @property
    def callers(self) -> int:
        """Number of waiting calls that share this poller."""
        return self._watched.callers

    def join(self, task_ids: Sequence[str]) -> Subscription:
        """Add a call that waits for `task_ids`, which are distinct. Raises RateLimited if too many are awaited."""
        return self._watched.subscribe(task_ids)

    def leave(self, subscription: Subscription) -> bool:
        """Remove a waiting call, and return whether it was the last one."""
        self._watched.unsubscribe(subscription)
        return not self._watched.callers

    def stop(self) -> asyncio.Task[None]:
        """Cancel the polling, and return its asyncio task, which the caller waits for."""
        self._stopping = True
        self._watched.was_touched.set()
        self._running.cancel()
        return self._running

    def on_event(self, event: TaskEvent) -> None:
        """Wake the poller for the tasks that an event names, and read early those reported as finished or missing."""
        self._watched.apply(event)

    async def _run(self) -> None:
        pause = LOOK_SECONDS
        try:
            while not self._stopping:  # a client library may swallow the cancellation
                try:
                    await self._step()
                    pause = LOOK_SECONDS
                except Exception as exc:  # noqa: BLE001 - other callers share this poller
                    self._deps.faults.note(exc)
                    await self._deps.sleep(pause)
                    pause = min(2 * pause, MAX_PAUSE_SECONDS)
        finally:
            with suppress(StoreUnavailable):
                await asyncio.shield(self._deps.coordination.remove(self._lease_key, self._holder))

    async def _step(self) -> None:
        self._watched.was_touched.clear()
        now = self._deps.wall_clock()
        is_full = not 0 < self._full_step_at - now <= LEASE_SECONDS  # the clock may have been set back
        task_ids = self._watched.unsettled(self._watched if is_full else self._watched.touched)
        self._watched.touched.clear()
        await self._refresh(task_ids)
        if await self._acquire_lease(task_ids) or self._has_overdue_task(task_ids):
            pause = await self._read_due(task_ids, is_full=is_full)
        else:
            pause = LOOK_SECONDS
        now = self._deps.wall_clock()
        self._full_step_at = now + pause if is_full else min(self._full_step_at, now + pause)
        if self._full_step_at > now:
            await wait_for_event(self._watched.was_touched, self._full_step_at - now, self._deps.sleep)

    async def _refresh(self, task_ids: Sequence[str]) -> None:
        """Update watched tasks from the cache and the stored snapshots, which other replicas write too."""
        for start in range(0, len(task_ids), LOADED_TOGETHER):
            tasks, snapshots = await self._load_stored(task_ids[start : start + LOADED_TOGETHER])
            for task_id, snapshot in snapshots.items():
                if snapshot is not None:
                    self._watched.set_snapshot(task_id, with_cached_task(snapshot, tasks.get(task_id)))
            for task_id, task in tasks.items():
                self._watched.set_answer(task_id, task)

    async def _load_stored(
        self, task_ids: Sequence[str]
    ) -> tuple[dict[str, RenderedTask], dict[str, TaskSnapshot | None]]:
        """Return the cached tasks, and the snapshot of each task that is not final; None if there is no snapshot."""
        if not task_ids:
            return {}, {}
        owner = self._caller.principal.owner
        tasks = (await self._deps.cache.get_many(owner, task_ids)).tasks
        running = [task_id for task_id in task_ids if task_id not in tasks or not tasks[task_id].is_final]
        snapshots = await self._deps.snapshots.get_many(owner, running)
        return tasks, {task_id: snapshots.get(task_id) for task_id in running}

    async def _acquire_lease(self, task_ids: Sequence[str]) -> bool:
        """Publish that the tasks are awaited here, and try to acquire or renew the lease.

        Return True if this poller is the leader now, or if the store is down.
        """
        coordination = self._deps.coordination
        try:
            if unsettled := self._watched.unsettled(task_ids):
                await coordination.add_members(self._interest_key, unsettled, LEASE_SECONDS)
            holder = await coordination.put_if_absent(self._lease_key, self._holder, LEASE_SECONDS)
            if holder is None or holder != self._holder:
                return holder is None
            return await coordination.replace(self._lease_key, self._holder, self._holder, LEASE_SECONDS)
        except StoreUnavailable:
            return True

    def _has_overdue_task(self, task_ids: Sequence[str]) -> bool:
        """Return whether this process must read one of the tasks although it is not the leader.

        A task is overdue if it was due LEASE_SECONDS ago, or is due and was found missing by another replica.
        """
        now = self._deps.wall_clock()
        for task_id in self._watched.unsettled(task_ids):
            watched = self._watched[task_id]
            due_at = self._due_at(task_id, watched.snapshot)
            if due_at <= now and (watched.is_missing_elsewhere or max(due_at, watched.since) + LEASE_SECONDS <= now):
                return True
        return False

    async def _read_due(self, task_ids: Sequence[str], *, is_full: bool) -> float:
        """Read those of the tasks that are due, in a full step also those of other replicas.

        Return the seconds until the next full step, as far as these tasks determine it.
        """
        others = await self._awaited_elsewhere() if is_full else {}
        known = {task_id: self._watched[task_id].snapshot for task_id in self._watched.unsettled(task_ids)} | others
        if due := self._due_with_neighbours(known):
            running = await self._read(due)
            known = {task_id: snapshot for task_id, snapshot in known.items() if task_id not in due} | running
        due_at = min((self._due_at(task_id, snapshot) for task_id, snapshot in known.items()), default=None)
        if due_at is None:
            return LOOK_SECONDS
        jitter = 1 + JITTER * random.random()  # noqa: S311 - spreads load, guards nothing
        return min(max(due_at - self._deps.wall_clock(), 0.0) * jitter, LEASE_SECONDS / 3)

    def _due_with_neighbours(self, known: Mapping[str, TaskSnapshot | None]) -> dict[str, TaskSnapshot | None]:
        """Return the tasks that are due. If there are any, return also those with half of their pause behind them.

        Tasks that were submitted one after the other are thus read together from then on.
        """
        now = self._deps.wall_clock()
        due_at = {task_id: self._due_at(task_id, snapshot) for task_id, snapshot in known.items()}
        if not any(at <= now for at in due_at.values()):
            return {}
        return {
            task_id: snapshot
            for task_id, snapshot in known.items()
            if due_at[task_id] <= now
            or (is_nearly_due(snapshot, due_at[task_id], now) and self._not_before.get(task_id, 0.0) <= now)
        }

    def _due_at(self, task_id: str, snapshot: TaskSnapshot | None) -> float:
        """Return when to read the task next (unix seconds). A task without a snapshot is due at once."""
        is_trusted = self._deps.callback_trust.is_trusted
        due_at = (
            next_read_at(snapshot, self._deps.backend.policy.polling, callbacks_arrive=is_trusted)
            if snapshot is not None
            else 0.0
        )
        due_at = max(due_at, self._not_before.get(task_id, 0.0))
        watched = self._watched.get(task_id)
        return due_at if watched is None or watched.early_read_at is None else min(due_at, watched.early_read_at)

    async def _awaited_elsewhere(self) -> dict[str, TaskSnapshot | None]:
        """Return the running tasks that calls to other replicas wait for, with their snapshots.

        A snapshot is None if it is not stored. The result is empty if Redis does not answer.
        """
        try:
            awaited = await self._deps.coordination.members(self._interest_key, MAX_WATCHED)
        except StoreUnavailable:
            return {}
        _, snapshots = await self._load_stored([task_id for task_id in awaited if task_id not in self._watched])
        return snapshots

    async def _read(self, known: Mapping[str, TaskSnapshot | None]) -> dict[str, TaskSnapshot | None]:
        """Read the tasks in `known`, which has their last snapshots. Store and apply the results, and publish changes.

        Return the snapshots after the read, of the tasks whose results can still change.
        """
        self._watched.begin_read(known)
        answers = await self._read_backend(list(known))
        now = self._deps.wall_clock()
        not_before = now + self._deps.backend.policy.polling.min_read_interval_seconds
        recent = {task_id: at for task_id, at in self._not_before.items() if at > now}
        self._not_before = recent | dict.fromkeys(known, not_before)
        tasks = {task_id: answer for task_id, answer in answers.items() if isinstance(answer, RenderedTask)}
        snapshots = {task_id: snapshot_after_read(known[task_id], task, now) for task_id, task in tasks.items()}
        await self._deps.snapshots.put_many(self._caller.principal.owner, list(snapshots.values()))
        await self._deps.callback_trust.count_missing_callbacks(known, tasks, now)
        for task_id, answer in answers.items():
            self._watched.set_answer(task_id, answer)
        for task_id, snapshot in snapshots.items():
            self._watched.set_snapshot(task_id, snapshot)
        changed = [task_id for task_id, snapshot in snapshots.items() if _has_changed(known[task_id], snapshot)]
        missing = [task_id for task_id, answer in answers.items() if answer is None]
        await self._publish(TaskEvent(self._caller.principal.owner, changed=changed, missing=missing))
        running = (task_id for task_id, answer in answers.items() if not is_settled(answer))
        return {task_id: snapshots.get(task_id, known[task_id]) for task_id in running}

    async def _read_backend(self, task_ids: Sequence[str]) -> Mapping[str, TaskResult]:
        """Read the tasks at the backend. After an unexpected exception, which is logged, each gets a BackendError."""
        try:
            return await self._deps.read(self._caller, task_ids)
        except Exception as exc:  # noqa: BLE001 - other callers share this poller
            self._deps.faults.note(exc)
            return dict.fromkeys(task_ids, self._deps.backend.error(BackendError))

    async def _publish(self, event: TaskEvent) -> None:
        if event.changed or event.missing:
            with suppress(StoreUnavailable):
                await self._deps.coordination.publish(EventKind.TASKS, pack(event))


def _has_changed(before: TaskSnapshot | None, after: TaskSnapshot) -> bool:
    return before is None or before.task.state is not after.task.state
