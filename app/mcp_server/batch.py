"""The answer to one question about many tasks, put together from what was worked out once for each."""

from dataclasses import dataclass

from pydantic_core import to_json

from app.domain.errors import LumaError
from app.domain.freshness import Pace, ask_again_after
from app.domain.task import Lookup, Task, TaskState
from app.mcp_server.json_text import JsonText, json_line, json_lines, json_text
from app.mcp_server.texts import summary_line, task_line, unanswered_lines
from app.mcp_server.tool import ToolAnswer
from app.mcp_server.views import OutcomeView, StateCounts, task_view, unavailable_view
from app.services.bounded import Bounded

MOST_SHOWN = 2048
"""Finished tasks whose JSON is kept, about 1.5 KB each."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A task as an answer shows it: the typed view, and the line for the model as it stands inside a JSON string."""

    task: Task
    view: JsonText
    line: str


_finished: Bounded[str, Shown] = Bounded(MOST_SHOWN)
"""What is shown of tasks that cannot change, by id: worked out once for each Task, however often it is asked for."""


def batch_answer(lookup: Lookup, now: float, pace: Pace) -> ToolAnswer:
    """Return the summary line and a line for each id; and all tasks, with what became of the other ids."""
    shown: list[Shown] = []
    missing: list[str] = []
    faults: dict[str, LumaError] = {}
    running: list[Task] = []
    for task_id, answer in lookup.answers.items():
        known = _finished.get(task_id)
        if known is not None and known.task is answer:
            shown.append(known)
        elif answer is None:
            missing.append(task_id)
        elif isinstance(answer, LumaError):
            faults[task_id] = answer
        elif answer.is_final:
            shown.append(_show(answer, now))
            _finished[task_id] = shown[-1]
        else:
            shown.append(_show(answer, now))
            running.append(answer)
    counts = _counts([one.task.state for one in shown])
    outcome: OutcomeView = {
        "missing": missing,
        "unavailable": [unavailable_view(task_id, fault) for task_id, fault in faults.items()],
        "counts": {**counts, "missing": len(missing), "unavailable": len(faults)},
        "ask_again_in_seconds": ask_again_after([*running, *faults.values()], now, pace),
    }
    text = json_lines([
        json_line(summary_line(outcome)),
        *[one.line for one in shown],
        *map(json_line, unanswered_lines(missing, faults)),
    ])  # fmt: skip
    # Ids that were let in, and sentences of ours, are text that any encoder can write: here the fastest.
    rest = to_json(outcome).decode()
    result = JsonText('{"tasks":[' + ",".join([one.view for one in shown]) + "]," + rest[1:])
    return ToolAnswer(text, result, lookup.effort, counts)


def _show(task: Task, now: float) -> Shown:
    return Shown(task, json_text(task_view(task, now)), json_line(task_line(task, now)))


def _counts(states: list[TaskState]) -> StateCounts:
    return {
        "completed": states.count(TaskState.COMPLETED),
        "failed": states.count(TaskState.FAILED),
        "processing": states.count(TaskState.PROCESSING),
        "pending": states.count(TaskState.PENDING),
    }
