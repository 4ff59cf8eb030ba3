"""The tool result for a batch of tasks, joined from their rendered bytes."""

from collections.abc import Sequence
from typing import cast

import pydantic_core

from app.domain.backend import BackendDescription
from app.domain.errors import LumaError
from app.domain.freshness import poll_after
from app.domain.rendered import Lookup, RenderedTask
from app.domain.task import TaskState
from app.mcp_server.tools.json_bytes import Json, json_line, json_lines
from app.mcp_server.tools.rendering import line_at, unclosed_brief_at, unclosed_full_at
from app.mcp_server.tools.results import OutcomeView, StateCounts, unavailable_view
from app.mcp_server.tools.text import summary_line, unanswered_lines
from app.mcp_server.tools.tool_result import ToolResult


def batch_result(lookup: Lookup, now: float, backend: BackendDescription, *, is_full: bool = False) -> ToolResult:
    """Return the result for a batch at `now` (unix seconds).

    The text is a summary line, then a line for each task, then the missing and the unavailable ids. The structured
    content has the tasks, in their full form if `is_full`, and the outcome of the other ids.
    """
    polling = backend.policy.polling
    tasks, missing, faults = _by_outcome(lookup)
    counts = _counts([task.state for task in tasks])
    running = [task for task in tasks if not task.is_final] if counts["processing"] or counts["pending"] else []
    outcome: OutcomeView = {
        "missing": missing,
        "unavailable": [unavailable_view(task_id, error) for task_id, error in faults.items()],
        "counts": {**counts, "missing": len(missing), "unavailable": len(faults)},
        "ask_again_in_seconds": poll_after([*running, *faults.values()], now, polling),
    }
    text = json_lines([
        json_line(summary_line(outcome)),
        *([line_at(task, now, polling) for task in tasks] if running else [task.line for task in tasks]),
        *map(json_line, unanswered_lines(missing, faults, backend.name)),
    ])  # fmt: skip
    if is_full:
        objects = [unclosed_full_at(task, now, polling) for task in tasks]
    else:
        objects = (
            [unclosed_brief_at(task, now, polling) for task in tasks] if running else [task.head for task in tasks]
        )
    return ToolResult(text, _result(objects, outcome), lookup.stats, counts)


def _by_outcome(lookup: Lookup) -> tuple[list[RenderedTask], list[str], dict[str, LumaError]]:
    answers = list(lookup.answers.values())
    if all([type(answer) is RenderedTask for answer in answers]):  # noqa: C419 - a list takes a third of the time
        return cast("list[RenderedTask]", answers), [], {}
    tasks: list[RenderedTask] = []
    missing: list[str] = []
    faults: dict[str, LumaError] = {}
    for task_id, answer in lookup.answers.items():
        if answer is None:
            missing.append(task_id)
        elif isinstance(answer, LumaError):
            faults[task_id] = answer
        else:
            tasks.append(answer)
    return tasks, missing, faults


def _result(objects: Sequence[bytes], outcome: OutcomeView) -> Json:
    """Return the structured content. `objects` are tasks as JSON objects without their closing braces."""
    # The outcome has only valid ids and sentences of this service, so the fastest encoder can be used.
    outcome_json = pydantic_core.to_json(outcome)
    return Json(b"".join((b'{"tasks":[', b"},".join(objects), b"}]," if objects else b"],", outcome_json[1:])))


def _counts(states: list[TaskState]) -> StateCounts:
    return {
        "completed": states.count(TaskState.COMPLETED),
        "failed": states.count(TaskState.FAILED),
        "processing": states.count(TaskState.PROCESSING),
        "pending": states.count(TaskState.PENDING),
    }
