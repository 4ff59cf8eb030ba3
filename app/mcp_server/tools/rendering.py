"""Renders tasks as JSON bytes, once, when they are read from the backend. Tool results are joined from these bytes.

Values that change with time are added to each result: the age of a running task, and whether it is likely stuck.
"""

from app.domain.freshness import PollingPolicy, poll_after
from app.domain.rendered import RenderedTask
from app.domain.task import Task
from app.mcp_server.tools.json_bytes import Json, json_line, json_lines, to_json
from app.mcp_server.tools.results import brief_view, details_view
from app.mcp_server.tools.text import task_line


def render(task: Task) -> RenderedTask:
    """Return `task` rendered, with `fresh_until` 0; the cache sets it."""
    brief, details = to_json(brief_view(task)), to_json(details_view(task))
    return RenderedTask(
        id=task.id,
        state=task.state,
        created_at=task.created_at,
        finished_at=task.finished_at,
        fresh_until=0.0,
        head=brief[:-1],
        line=json_line(task_line(task)),
        rest=b"," + details[1:-1] if details != b"{}" else b"",
    )


def unclosed_brief_at(task: RenderedTask, now: float, polling: PollingPolicy) -> bytes:
    """Return the brief form of `task` at `now` (unix seconds), as a JSON object without its closing brace."""
    if task.is_final or task.created_at is None:
        return task.head
    age = max(0.0, now - task.created_at)
    is_stuck = b"true" if age > polling.stuck_after_seconds else b"false"
    return task.head + b',"elapsed_seconds":%b,"likely_stuck":%b' % (repr(round(age, 1)).encode(), is_stuck)


def unclosed_full_at(task: RenderedTask, now: float, polling: PollingPolicy) -> bytes:
    """Return the full form of `task` at `now` (unix seconds), as a JSON object without its closing brace."""
    return unclosed_brief_at(task, now, polling) + task.rest


def line_at(task: RenderedTask, now: float, polling: PollingPolicy) -> bytes:
    """Return the task's line of text for the model at `now` (unix seconds), escaped for a JSON string."""
    if task.is_final or task.created_at is None or now - task.created_at <= polling.stuck_after_seconds:
        return task.line
    return task.line + b" for over %g minutes: likely stuck, tell the user" % (polling.stuck_after_seconds / 60)


def single_task_result(task: RenderedTask, now: float, polling: PollingPolicy) -> tuple[Json, Json]:
    """Return the result for a single task: the text for the model, and the full form.

    The full form has `ask_again_in_seconds`, which is null for a final task. The text has it for a running task only.
    """
    wait = poll_after([task], now, polling)
    lines = [line_at(task, now, polling)]
    if wait is not None:
        lines.append(json_line(f"Ask again in {wait:g} s."))
    return json_lines(lines), Json(
        unclosed_full_at(task, now, polling) + b',"ask_again_in_seconds":%b}' % to_json(wait)
    )
