"""Snapshots of running tasks: changes of state, and the time of the next read."""

from dataclasses import dataclass, replace
from typing import Final

from app.domain.errors import LumaError
from app.domain.freshness import PollingPolicy
from app.domain.rendered import RenderedTask, TaskResult
from app.domain.task import Task, TaskState

GRACE_SECONDS = 60.0
"""A task that the backend does not list yet counts as pending for this time after its submission."""

SNAPSHOT_LIFE_SECONDS = 24 * 3600.0
"""Time to live of a snapshot: far longer than any generation takes."""


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """A task as last read. Times are unix seconds; None means never.

    Attributes:
        task: the rendered task.
        submitted_at: when this service submitted it.
        read_at: when it was last read from the backend.
        changed_at: when its current state was first seen.
        expects_callback: whether the backend should call when the task ends. Such a task is polled rarely.

    """

    task: RenderedTask
    submitted_at: float | None = None
    read_at: float | None = None
    changed_at: float | None = None
    expects_callback: bool = False

    @property
    def began_at(self) -> float | None:
        """When the task began: by the backend, else the time of this service's submission; None if both are unknown.

        It is at most `changed_at`, because the backend's clock may be ahead.
        """
        began_at = self.task.created_at if self.task.created_at is not None else self.submitted_at
        if began_at is None or self.changed_at is None:
            return began_at
        return min(began_at, self.changed_at)


def pending_task(task_id: str, now: float) -> Task:
    """Return a pending task that the backend accepted at `now`."""
    return Task(task_id, TaskState.PENDING, created_at=now)


def snapshot_of_submission(task: RenderedTask, now: float, *, expects_callback: bool = False) -> TaskSnapshot:
    """Return the snapshot of a task that the backend accepted at `now`."""
    return TaskSnapshot(task, submitted_at=now, changed_at=now, expects_callback=expects_callback)


def snapshot_after_read(snapshot: TaskSnapshot | None, task: RenderedTask, now: float) -> TaskSnapshot:
    """Return the snapshot after `task` was read from the backend at `now`. A final state never changes again.

    The new snapshot expects no callback, so the task is polled on schedule from then on.
    """
    if snapshot is None:
        return TaskSnapshot(task, read_at=now, changed_at=now)
    if snapshot.task.is_final:
        return snapshot
    changed_at = snapshot.changed_at if snapshot.task.state is task.state else now
    return replace(snapshot, task=task, read_at=now, changed_at=changed_at, expects_callback=False)


def with_cached_task(snapshot: TaskSnapshot, cached: RenderedTask | None) -> TaskSnapshot:
    """Return the snapshot with the cached task in place of its own if both tasks are in the same state.

    A process then holds the rendered task, which takes several KB, only once.
    """
    if cached is None or cached.state is not snapshot.task.state:
        return snapshot
    return replace(snapshot, task=cached)


def is_in_grace(snapshot: TaskSnapshot | None, now: float) -> bool:
    """Return whether the task was submitted so recently that the backend may not list it yet."""
    return snapshot is not None and snapshot.submitted_at is not None and now - snapshot.submitted_at < GRACE_SECONDS


def is_settled(answer: TaskResult) -> bool:
    """Return whether a result can no longer change: a final task, an unknown id, or an error that is not retryable."""
    if isinstance(answer, RenderedTask):
        return answer.is_final
    return not isinstance(answer, LumaError) or not answer.is_retryable


PAUSE_SHARE: Final = 1 / 10
"""Pause before the next read as a fraction of the task's age, within the bounds of the polling policy."""


def next_read_at(snapshot: TaskSnapshot, polling: PollingPolicy, *, callbacks_arrive: bool = True) -> float:
    """Return when to read a running task next (unix seconds), by its age at the last read.

    If `callbacks_arrive` is false, tasks that expect a callback are read on schedule, like others.
    """
    began_at = snapshot.began_at if snapshot.began_at is not None else snapshot.read_at or 0.0
    if snapshot.expects_callback and callbacks_arrive:
        return began_at + polling.read_without_callback_seconds
    first = began_at + polling.first_read_seconds
    if snapshot.read_at is None:
        return first
    pause = PAUSE_SHARE * (snapshot.read_at - began_at)
    return max(
        first, snapshot.read_at + min(polling.max_read_interval_seconds, max(polling.min_read_interval_seconds, pause))
    )


def is_nearly_due(snapshot: TaskSnapshot | None, due_at: float, now: float) -> bool:
    """Return whether at least half of the pause between the last read and the next one, at `due_at`, has passed."""
    return snapshot is not None and snapshot.read_at is not None and (snapshot.read_at + due_at) / 2 <= now
