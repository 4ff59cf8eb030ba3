"""The answer to one question about many tasks, put together from what was worked out once for each."""

from dataclasses import dataclass
from functools import lru_cache

from app.domain.errors import LumaError
from app.domain.freshness import Pace, ask_again_after
from app.domain.task import Lookup, Task, TaskState
from app.mcp_server.json_text import JsonText, json_lines, json_text
from app.mcp_server.texts import summary_line, task_line, unanswered_lines
from app.mcp_server.tool import ToolAnswer
from app.mcp_server.views import CountsView, OutcomeView, task_view, unavailable_view

MOST_SHOWN = 8192
"""Finished tasks whose JSON is kept, about 1.5 KB each."""

_STATES = [state.value for state in TaskState]


@dataclass(frozen=True, slots=True)
class Shown:
    """A task as an answer shows it: the typed view, and the line for the model."""

    view: JsonText
    line: JsonText


def batch_answer(lookup: Lookup, now: float, pace: Pace) -> ToolAnswer:
    """Return the summary line and a line for each id; and all tasks, with what became of the other ids."""
    tasks: list[Task] = []
    missing: list[str] = []
    faults: dict[str, LumaError] = {}
    for task_id, answer in lookup.answers.items():
        if isinstance(answer, Task):
            tasks.append(answer)
        elif answer is None:
            missing.append(task_id)
        else:
            faults[task_id] = answer
    outcome: OutcomeView = {
        "missing": missing,
        "unavailable": [unavailable_view(task_id, fault) for task_id, fault in faults.items()],
        "counts": _counts(tasks, len(missing), len(faults)),
        "ask_again_in_seconds": ask_again_after(lookup.answers.values(), now, pace),
    }
    shown = [_final(task) if task.is_final else _show(task, now) for task in tasks]
    text = json_lines([
        json_text(summary_line(outcome)),
        *[task.line for task in shown],
        *map(json_text, unanswered_lines(missing, faults)),
    ])  # fmt: skip
    result = JsonText('{"tasks":[' + ",".join([task.view for task in shown]) + "]," + json_text(outcome)[1:])
    return ToolAnswer(text, result, lookup.effort, {state: outcome["counts"][state] for state in _STATES})


@lru_cache(maxsize=MOST_SHOWN)
def _final(task: Task) -> Shown:
    """Return what is shown of a task that cannot change: worked out once, however often it is asked for."""
    return _show(task, 0.0)


def _show(task: Task, now: float) -> Shown:
    return Shown(json_text(task_view(task, now)), json_text(task_line(task, now)))


def _counts(tasks: list[Task], missing: int, unavailable: int) -> CountsView:
    states = [task.state for task in tasks]
    return {
        "completed": states.count(TaskState.COMPLETED),
        "failed": states.count(TaskState.FAILED),
        "processing": states.count(TaskState.PROCESSING),
        "pending": states.count(TaskState.PENDING),
        "missing": missing,
        "unavailable": unavailable,
    }
