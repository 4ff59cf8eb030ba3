"""Watched tasks, and the subscriptions of the calls that wait for them."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from app.domain.rendered import TaskResult
from app.domain.snapshot import TaskSnapshot, is_settled


@dataclass(slots=True)
class WatchedTask:
    """A task that at least one call waits for. Times are unix seconds.

    Attributes:
        since: when the first call began to wait.
        subscriptions: number of calls that wait for the task.
        snapshot: the last snapshot; None before the first one.
        answer: the last result; None means that the task is missing. Meaningful only if `answered` is true.
        answered: whether there is a result.
        early_read_at: time at which to read the task before its schedule, because a callback reported its end or
            another replica found it missing; None if the schedule applies.
        early_reads_from: no early read is scheduled before this time.
        is_missing_elsewhere: whether another replica found the task missing. This replica then reads it itself.

    """

    since: float
    subscriptions: int = 0
    snapshot: TaskSnapshot | None = None
    answer: TaskResult = None
    answered: bool = False
    early_read_at: float | None = None
    early_reads_from: float = 0.0
    is_missing_elsewhere: bool = False

    @property
    def settled(self) -> bool:
        """Whether there is a result that can no longer change."""
        return self.answered and is_settled(self.answer)


class Subscription:
    """The tasks of one waiting call, with their latest results."""

    def __init__(self, watched: dict[str, WatchedTask], release: Callable[[Collection[str]], None]) -> None:
        """Read from `watched`, which the poller updates. `release` ends the watch of some tasks."""
        self._watched = watched
        self._release = release
        self.changed = asyncio.Event()
        """Set when a task changes. The waiting call clears it."""

    def __contains__(self, task_id: str) -> bool:
        """Return whether the call waits for the task."""
        return task_id in self._watched

    @property
    def settled(self) -> bool:
        """Whether all tasks have results that can no longer change."""
        return all(watched.settled for watched in self._watched.values())

    @property
    def count(self) -> int:
        """Number of tasks in this subscription."""
        return len(self._watched)

    @property
    def settled_count(self) -> int:
        """Number of tasks with results that can no longer change."""
        return sum(watched.settled for watched in self._watched.values())

    def release(self, task_ids: Collection[str]) -> None:
        """Stop waiting for some of the tasks, so that they take no memory. They have no more results."""
        for task_id in task_ids:
            del self._watched[task_id]
        self._release(task_ids)

    def release_all(self) -> None:
        """Stop waiting for all tasks."""
        self.release(list(self._watched))

    def answers(self) -> dict[str, TaskResult]:
        """Return the known results by task id. Tasks without a result are left out."""
        return {task_id: watched.answer for task_id, watched in self._watched.items() if watched.answered}
