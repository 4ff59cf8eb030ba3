"""What the service knows of a running task, and how that moves: the state machine behind every way to wait."""

from dataclasses import dataclass, replace
from typing import Final

from app.domain.errors import LumaError
from app.domain.freshness import PollingPolicy
from app.domain.rendered import RenderedTask, TaskResult
from app.domain.task import Task, TaskState

GRACE_SECONDS = 60.0
"""How long a submitted task that the backend does not show yet counts as pending."""

SNAPSHOT_LIFE_SECONDS = 24 * 3600.0
"""How long a record of a running task is kept: far longer than any generation takes."""


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """A task as last seen. Times are unix seconds; None means never.

    `changed_at` is when its state was first seen to be what it is.

    `expects_callback` is true while the backend is trusted to say when the task ends, so that reads may be rare.
    """

    task: RenderedTask
    submitted_at: float | None = None
    read_at: float | None = None
    changed_at: float | None = None
    expects_callback: bool = False

    @property
    def began_at(self) -> float | None:
        """When the task began, by the backend's word or else by ours."""
        return self.task.created_at if self.task.created_at is not None else self.submitted_at


def pending_task(task_id: str, now: float) -> Task:
    """Return what is known of a task that was accepted at `now`."""
    return Task(task_id, TaskState.PENDING, created_at=now)


def snapshot_of_submission(task: RenderedTask, now: float, *, expects_callback: bool = False) -> TaskSnapshot:
    """Return the record of a task that was accepted at `now`."""
    return TaskSnapshot(task, submitted_at=now, changed_at=now, expects_callback=expects_callback)


def snapshot_after_read(snapshot: TaskSnapshot | None, task: RenderedTask, now: float) -> TaskSnapshot:
    """Return the record after the backend showed `task` at `now`. A final state never changes again.

    A task that was expected to call back, and was looked at without having ended, is from then on read on schedule.
    """
    if snapshot is None:
        return TaskSnapshot(task, read_at=now, changed_at=now)
    if snapshot.task.is_final:
        return snapshot
    changed_at = snapshot.changed_at if snapshot.task.state is task.state else now
    return replace(snapshot, task=task, read_at=now, changed_at=changed_at, expects_callback=False)


def is_in_grace(snapshot: TaskSnapshot | None, now: float) -> bool:
    """Whether the backend may simply not show the task yet, because it was submitted under a minute ago."""
    return snapshot is not None and snapshot.submitted_at is not None and now - snapshot.submitted_at < GRACE_SECONDS


def is_settled(answer: TaskResult) -> bool:
    """Whether waiting cannot change an answer: a final task, an unknown id, or a fault that does not pass."""
    if isinstance(answer, RenderedTask):
        return answer.is_final
    return not isinstance(answer, LumaError) or not answer.is_retryable


PAUSE_SHARE: Final = 1 / 10
"""The part of a task's age that passes before it is read again, within the bounds of the backend's pace."""


def next_read_at(snapshot: TaskSnapshot, polling: PollingPolicy, *, callbacks_come: bool = True) -> float:
    """Return when a running task is worth reading (unix seconds), by its age when it was last read.

    Where callbacks do not come, a task that was to bring one is read like any other.
    """
    began_at = snapshot.began_at if snapshot.began_at is not None else snapshot.read_at or 0.0
    if snapshot.expects_callback and callbacks_come:
        return began_at + polling.read_without_callback_seconds
    first = began_at + polling.first_read_seconds
    if snapshot.read_at is None:
        return first
    pause = PAUSE_SHARE * (snapshot.read_at - began_at)
    return max(first, snapshot.read_at + min(polling.longest_pause_seconds, max(polling.shortest_pause_seconds, pause)))
