"""The text content of tool results, for the model. It is short, and complete without the structured content."""

from collections.abc import Mapping

from app.domain.errors import LumaError
from app.domain.task import Task, TaskState
from app.mcp_server.tools.results import OutcomeView


def summary_line(outcome: OutcomeView) -> str:
    """Return the first line of a batch result: the number of ids by outcome, and when to ask again."""
    counts = ", ".join([f"{count} {name}" for name, count in outcome["counts"].items() if count])
    wait = outcome["ask_again_in_seconds"]
    return f"{counts}." if wait is None else f"{counts}. Ask again in {wait:g} s."


def unanswered_lines(missing: list[str], faults: Mapping[str, LumaError], backend_name: str) -> list[str]:
    """Return the last lines of a batch result: the unknown ids, then a line for each error with its ids."""
    lines = [f"unknown to {backend_name}, check these ids: " + " ".join(missing)] if missing else []
    reasons: dict[str, list[str]] = {}
    for task_id, error in faults.items():
        reasons.setdefault(error_text(error), []).append(task_id)
    return lines + [f"unavailable now ({reason}): {' '.join(task_ids)}" for reason, task_ids in reasons.items()]


def task_line(task: Task) -> str:
    """Return the line for one task: its id and state, and for a final one its video or its failure."""
    return _final_line(task) if task.is_final else f"{task.id} {task.state.value}"


def error_text(error: LumaError) -> str:
    """Return a failed call as a sentence that begins with its code."""
    advice = f" Try again in {error.advised_wait_seconds:g} s." if error.advised_wait_seconds is not None else ""
    return f"{error.code.value}: {error}{advice}"


def _final_line(task: Task) -> str:
    if task.state is TaskState.FAILED or task.video is None:
        reason = f" {task.failure.code.value}: {task.failure.message}" if task.failure else ""
        return f"{task.id} failed{reason}"
    video_id = f" video_id={task.video.video_id}" if task.video.video_id else ""
    return f"{task.id} completed{video_id} {task.video.url}"
