"""Rendered tasks and snapshots for tests of the services, made by the real renderer."""

from app.domain.rendered import RenderedTask
from app.domain.snapshot import TaskSnapshot, pending_task, snapshot_of_submission
from app.domain.task import Task
from app.mcp_server.tools.rendering import render


def rendered(task: Task, fresh_until: float = 0.0) -> RenderedTask:
    """Return `task` rendered, with `fresh_until` in unix seconds."""
    return render(task)._replace(fresh_until=fresh_until)


def just_submitted(task_id: str, now: float, *, expects_callback: bool = False) -> TaskSnapshot:
    """Return the snapshot of a task that the backend accepted at `now` (unix seconds)."""
    return snapshot_of_submission(render(pending_task(task_id, now)), now, expects_callback=expects_callback)
