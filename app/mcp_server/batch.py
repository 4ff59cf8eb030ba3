"""The answer to one question about many tasks, put together from what was worked out once for each."""

from dataclasses import dataclass
from operator import is_

import pydantic_core

from app.domain.errors import LumaError
from app.domain.freshness import Pace, ask_again_after
from app.domain.task import Answer, Lookup, Task, TaskState
from app.mcp_server.answer import ToolAnswer
from app.mcp_server.encoding import Json, json_line, json_lines, to_json
from app.mcp_server.texts import summary_line, task_line, unanswered_lines
from app.mcp_server.views import OutcomeView, StateCounts, brief_view, task_view, unavailable_view
from app.services.bounded import Bounded

REPEATED_BYTES = 4 * 1024 * 1024
"""Whole answers that are kept for a question asked again, about 150 KB with the tasks for 50 of them."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A task as an answer shows it: the brief view, and the line for the model as it stands inside a JSON string."""

    task: Task
    view: Json
    line: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Told:
    """A whole answer, and the tasks that it tells of, in the order asked."""

    tasks: list[Answer]
    answer: ToolAnswer
    size_bytes: int


class BatchAnswers:
    """Puts answers together, and keeps what can be used again: only for the very same tasks, never for the same ids."""

    def __init__(self, most_bytes: int, backend_name: str) -> None:
        """Start with nothing kept, and room for `most_bytes` of finished tasks and their JSON, about 3 KB each.

        Sentences name the backend `backend_name`.
        """
        self._backend_name = backend_name
        # By id: worked out once for each Task. By ids: whole answers that cannot change.
        self._finished: Bounded[str, Shown] = Bounded(most_bytes, lambda shown: shown.size_bytes)
        self._told: Bounded[tuple[str, ...], _Told] = Bounded(REPEATED_BYTES, lambda told: told.size_bytes)

    @property
    def kept_bytes(self) -> int:
        """About what is kept takes in memory."""
        return self._finished.weight + self._told.weight

    def about(self, lookup: Lookup, now: float, pace: Pace, *, is_full: bool = False) -> ToolAnswer:
        """Return the summary line and a line for each id; and all tasks, with what became of the other ids.

        `is_full` asks for all that is known of each task, which is put together anew each time.
        """
        if is_full:
            return self._put_together(lookup, now, pace, is_full=True)[0]
        question, found = tuple(lookup.answers), list(lookup.answers.values())
        told = self._told.get(question)
        if told is not None and all(map(is_, told.tasks, found)):
            return ToolAnswer(told.answer.text, told.answer.result, lookup.effort, told.answer.seen)
        answer, is_final = self._put_together(lookup, now, pace, is_full=False)
        if is_final:
            size = (
                len(answer.text) + len(answer.result) + sum(task.size_bytes for task in found if isinstance(task, Task))
            )
            self._told[question] = _Told(found, answer, size)
        return answer

    def _put_together(self, lookup: Lookup, now: float, pace: Pace, *, is_full: bool) -> tuple[ToolAnswer, bool]:
        """Return the answer, and whether nothing in it can change."""
        shown: list[Shown] = []
        missing: list[str] = []
        faults: dict[str, LumaError] = {}
        for task_id, answer in lookup.answers.items():
            if answer is None:
                missing.append(task_id)
            elif isinstance(answer, LumaError):
                faults[task_id] = answer
            else:
                shown.append(self._shown(answer, now, pace))
        running = [one.task for one in shown if not one.task.is_final]
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
            *map(json_line, unanswered_lines(missing, faults, self._backend_name)),
        ])  # fmt: skip
        # Ids that were let in, and sentences of ours, are text that any encoder can write: here the fastest.
        rest = pydantic_core.to_json(outcome)
        views = [to_json(task_view(one.task, now, pace)) if is_full else one.view for one in shown]
        result = Json(b'{"tasks":[' + b",".join(views) + b"]," + rest[1:])
        return ToolAnswer(text, result, lookup.effort, counts), not (missing or faults or running)

    def _shown(self, task: Task, now: float, pace: Pace) -> Shown:
        known = self._finished.get(task.id)
        if known is not None and known.task is task:
            return known
        view, line = to_json(brief_view(task, now, pace)), json_line(task_line(task, now, pace))
        shown = Shown(task, view, line, task.size_bytes + len(view) + len(line))
        if task.is_final:
            self._finished[task.id] = shown
        return shown


def _counts(states: list[TaskState]) -> StateCounts:
    return {
        "completed": states.count(TaskState.COMPLETED),
        "failed": states.count(TaskState.FAILED),
        "processing": states.count(TaskState.PROCESSING),
        "pending": states.count(TaskState.PENDING),
    }
