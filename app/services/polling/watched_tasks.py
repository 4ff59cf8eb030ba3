"""The tasks of one tenant that calls to this process wait for, with their latest results."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from app.domain.errors import LumaError, RateLimited
from app.domain.rendered import RenderedTask, TaskResult
from app.domain.snapshot import TaskSnapshot, is_settled
from app.services.limits.caller_quota import RETRY_AFTER_SECONDS, CallerQuota
from app.services.polling.events import TaskEvent
from app.services.polling.subscription import Subscription, WatchedTask

EARLY_READ_SECONDS = 10.0
"""Minimum between two early reads of one task, which callbacks and other replicas trigger."""

MAX_AWAITED = 6_000
MAX_AWAITED_PER_CALLER = 1_200
"""Limits of the distinct tasks that calls wait for: in this process, and of one caller.

A poller reads all of its tasks in one batch, together with MAX_WATCHED of other replicas. The batch must be smaller
than the limit of queued ids per token (`MAX_PER_TENANT` in queued_ids.py).
"""

TOO_MANY_AWAITED = (
    f"Calls can wait for at most {MAX_AWAITED_PER_CALLER} different tasks of this token and {MAX_AWAITED} in all, "
    "and one of these limits is reached. Ask with wait_seconds 0, or wait for fewer tasks at a time."
)


class WatchedTasks(Mapping[str, WatchedTask]):
    """Tasks by id, each from the first call that waits for it to the last.

    Attributes:
        touched: ids of tasks that the poller must look at, because a call has begun to wait for them, or an event has
            named them.
        was_touched: set when there are such ids.

    """

    def __init__(self, subject: str, quota: CallerQuota, clock: Callable[[], float]) -> None:
        """Count the tasks of `subject` in `quota`. `clock` returns unix seconds."""
        self._subject = subject
        self._quota = quota
        self._clock = clock
        self._tasks: dict[str, WatchedTask] = {}
        self._subscriptions: set[Subscription] = set()
        self.touched: set[str] = set()
        self.was_touched = asyncio.Event()

    def __getitem__(self, task_id: str) -> WatchedTask:
        """Return the task with this id. Raises KeyError if no call waits for it."""
        return self._tasks[task_id]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids."""
        return iter(self._tasks)

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self._tasks)

    @property
    def callers(self) -> int:
        """Number of waiting calls."""
        return len(self._subscriptions)

    def subscribe(self, task_ids: Sequence[str]) -> Subscription:
        """Add a call that waits for `task_ids`, which are distinct. Raises RateLimited if too many are awaited."""
        new_ids = [task_id for task_id in task_ids if task_id not in self._tasks]
        if not self._quota.take(self._subject, len(new_ids)):
            raise RateLimited(TOO_MANY_AWAITED, retry_after_seconds=RETRY_AFTER_SECONDS)
        now = self._clock()
        awaited = {task_id: self._tasks.setdefault(task_id, WatchedTask(since=now)) for task_id in task_ids}
        for watched in awaited.values():
            watched.subscriptions += 1
        subscription = Subscription(awaited, self._release)
        self._subscriptions.add(subscription)
        self._touch(new_ids)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a waiting call."""
        self._subscriptions.discard(subscription)
        subscription.release_all()

    def _release(self, task_ids: Collection[str]) -> None:
        """Count one call less for each of the tasks, and forget those that no call waits for."""
        before = len(self._tasks)
        for task_id in task_ids:
            watched = self._tasks[task_id]
            watched.subscriptions -= 1
            if watched.subscriptions == 0:
                del self._tasks[task_id]
        self._quota.give_back(self._subject, before - len(self._tasks))

    def apply(self, event: TaskEvent) -> None:
        """Schedule early reads of the tasks that an event reports as finished or missing, and touch all that it names.

        The event comes from any replica, also this one.
        """
        now = self._clock()
        for task_id in (*event.reported_finished, *event.missing):
            watched = self._tasks.get(task_id)
            if watched is not None and not watched.settled:
                watched.early_read_at = max(now, watched.early_reads_from)
                watched.is_missing_elsewhere = watched.is_missing_elsewhere or task_id in event.missing
        self._touch([*event.reported_finished, *event.missing, *event.changed])

    def _touch(self, task_ids: Sequence[str]) -> None:
        self.touched.update(task_id for task_id in task_ids if task_id in self._tasks)
        if self.touched:
            self.was_touched.set()

    def begin_read(self, task_ids: Collection[str]) -> None:
        """Record that the tasks are read now: their early reads are done, and the next ones wait EARLY_READ_SECONDS."""
        early_reads_from = self._clock() + EARLY_READ_SECONDS
        for task_id in task_ids:
            if (watched := self._tasks.get(task_id)) is not None:
                if watched.early_read_at is not None:
                    watched.early_reads_from = early_reads_from
                watched.early_read_at, watched.is_missing_elsewhere = None, False

    def set_snapshot(self, task_id: str, snapshot: TaskSnapshot) -> None:
        """Set the last snapshot of a task, if a call waits for it. It is the result, too, unless that is settled."""
        watched = self._tasks.get(task_id)
        if watched is None:
            return
        watched.snapshot = snapshot
        if not watched.answered or not is_settled(watched.answer):
            self._set_answer(task_id, watched, snapshot.task)

    def set_answer(self, task_id: str, answer: TaskResult) -> None:
        """Set the result of a task, if a call waits for it. An error does not replace a known state."""
        watched = self._tasks.get(task_id)
        if watched is None or watched.settled:
            return
        if isinstance(answer, LumaError) and isinstance(watched.answer, RenderedTask):
            return
        self._set_answer(task_id, watched, answer)

    def _set_answer(self, task_id: str, watched: WatchedTask, answer: TaskResult) -> None:
        """Set the answer. Wake the calls that wait for the task, unless it is still running in the same state."""
        before, watched.answer, watched.answered = watched.answer, answer, True
        is_same = isinstance(before, RenderedTask) and isinstance(answer, RenderedTask) and before.state is answer.state
        if watched.settled or not is_same:
            for subscription in self._subscriptions:
                if task_id in subscription:
                    subscription.changed.set()

    def unsettled(self, task_ids: Iterable[str]) -> list[str]:
        """Return those of `task_ids` that calls wait for, and whose results can still change."""
        return [task_id for task_id in task_ids if task_id in self._tasks and not self._tasks[task_id].settled]
