"""Watched tasks, and the subscriptions of the calls that wait for them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.rendered import TaskResult
from app.domain.snapshot import TaskSnapshot, is_settled


@dataclass(slots=True)
class WatchedTask:
    """A task that at least one call waits for. Times are unix seconds.

    Attributes:
        since: when the first call began to wait.
        waiting: number of subscriptions.
        snapshot: the last snapshot; None before the first one.
        answer: the last result; valid once `answered` is true.
        answered: whether there is a result.
        hinted_at: when a read is due because a callback reported the end of the task; None without a report.
        hints_from: reports before this time do not bring a read forward.
        is_doubted: whether another replica found the task missing. This replica then reads it itself.

    """

    since: float
    waiting: int = 0
    snapshot: TaskSnapshot | None = None
    answer: TaskResult = None
    answered: bool = False
    hinted_at: float | None = None
    hints_from: float = 0.0
    is_doubted: bool = False

    @property
    def settled(self) -> bool:
        """Whether the answer is final."""
        return self.answered and is_settled(self.answer)


class Subscription:
    """One caller's view of the tasks that it waits for."""

    def __init__(self, watched: Mapping[str, WatchedTask]) -> None:
        """View `watched`, which the poller updates."""
        self._watched = watched
        self.changed = asyncio.Event()
        """Set when a task changes. The waiting call clears it."""

    @property
    def settled(self) -> bool:
        """Whether all answers are final."""
        return all(watched.settled for watched in self._watched.values())

    @property
    def count(self) -> int:
        """Number of tasks in this subscription."""
        return len(self._watched)

    @property
    def settled_count(self) -> int:
        """Number of tasks whose answer is final."""
        return sum(watched.settled for watched in self._watched.values())

    def answers(self) -> dict[str, TaskResult]:
        """Return the known answers, without tasks that have none yet."""
        return {task_id: watched.answer for task_id, watched in self._watched.items() if watched.answered}
