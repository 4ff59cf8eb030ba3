"""Tasks as the services see them: rendered, as the server renders them."""

from app.domain.rendered import RenderedTask
from app.domain.snapshot import TaskSnapshot, pending_task, snapshot_of_submission
from app.domain.task import Task
from app.mcp_server.tools.rendering import render


def rendered(task: Task, fresh_until: float = 0.0) -> RenderedTask:
    """Return `task` rendered, fresh until then (unix seconds)."""
    return render(task)._replace(fresh_until=fresh_until)


def just_submitted(task_id: str, now: float, *, expects_callback: bool = False) -> TaskSnapshot:
    """Return the record of a task that was accepted at `now`."""
    return snapshot_of_submission(render(pending_task(task_id, now)), now, expects_callback=expects_callback)
