"""What those who wait see of the tasks they wait for."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.rendered import TaskResult
from app.domain.snapshot import TaskSnapshot, is_settled


@dataclass(slots=True)
class WatchedTask:
    """A task that somebody waits for: in how many waits, what is known of it, and when it is to be read early.

    Times are unix seconds. `since` is when somebody began to wait; `hinted_at` when a read is due because the task is
    said to have ended, or None; no later hint counts before `hints_from`. `is_doubted` says that another replica found
    it missing, which this one has to see for itself.
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
        """Whether waiting cannot change the answer any more."""
        return self.answered and is_settled(self.answer)


class Subscription:
    """What one caller sees of the tasks that it waits for."""

    def __init__(self, watched: Mapping[str, WatchedTask]) -> None:
        """Look at `watched`, which the Watch moves."""
        self._watched = watched
        self.changed = asyncio.Event()
        """Set when something was learnt; whoever waits for it clears it."""

    @property
    def settled(self) -> bool:
        """Whether waiting longer cannot change anything."""
        return all(watched.settled for watched in self._watched.values())

    @property
    def count(self) -> int:
        """How many tasks are waited for."""
        return len(self._watched)

    @property
    def settled_count(self) -> int:
        """How many of the tasks cannot change any more."""
        return sum(watched.settled for watched in self._watched.values())

    def answers(self) -> dict[str, TaskResult]:
        """Return what is known now; tasks that nothing is known of are left out."""
        return {task_id: watched.answer for task_id, watched in self._watched.items() if watched.answered}
