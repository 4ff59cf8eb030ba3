"""The text content of results, for the model: as short as possible, and complete without the structured content."""

from collections.abc import Mapping

from app.domain.errors import LumaError
from app.domain.task import Task, TaskState
from app.mcp_server.tools.results import OutcomeView


def summary_line(outcome: OutcomeView) -> str:
    """Return the line that a batch answer begins with: how many of what, and when to ask again."""
    counted = ", ".join([f"{count} {what}" for what, count in outcome["counts"].items() if count])
    wait = outcome["ask_again_in_seconds"]
    return f"{counted}." if wait is None else f"{counted}. Ask again in {wait:g} s."


def unanswered_lines(missing: list[str], faults: Mapping[str, LumaError], backend_name: str) -> list[str]:
    """Return the lines that a batch answer ends with: unknown ids, then each fault once, with the ids it holds for."""
    lines = [f"unknown to {backend_name}, check these ids: " + " ".join(missing)] if missing else []
    reasons: dict[str, list[str]] = {}
    for task_id, error in faults.items():
        reasons.setdefault(error_text(error), []).append(task_id)
    return lines + [f"unavailable now ({reason}): {' '.join(task_ids)}" for reason, task_ids in reasons.items()]


def task_line(task: Task) -> str:
    """Return the line for one task: for a finished one its id, state, video_id and URL."""
    return _final_line(task) if task.is_final else f"{task.id} {task.state.value}"


def error_text(error: LumaError) -> str:
    """Return a failed call as a sentence that begins with its code."""
    wait = f" Try again in {error.advised_wait_seconds:g} s." if error.advised_wait_seconds is not None else ""
    return f"{error.code.value}: {error}{wait}"


def _final_line(task: Task) -> str:
    if task.state is TaskState.FAILED or task.video is None:
        reason = f" {task.failure.code.value}: {task.failure.message}" if task.failure else ""
        return f"{task.id} failed{reason}"
    video_id = f" video_id={task.video.video_id}" if task.video.video_id else ""
    return f"{task.id} completed{video_id} {task.video.url}"
