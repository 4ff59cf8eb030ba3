"""What the model reads: each answer in as few words as are enough alone."""

from functools import lru_cache

from app.domain.errors import LumaError
from app.domain.task import Lookup, Task, TaskState
from app.mcp_server.views import BatchView

STUCK_SECONDS = 600.0
"""The age at which AceDataCloud's concurrency FAQ says to give a task up."""


def batch_text(lookup: Lookup, view: BatchView, now: float) -> str:
    """Return the summary line, then a line for each id: tasks first, then what could not be answered."""
    lines = [_summary(view)]
    lines += [task_line(answer, now) for answer in lookup.answers.values() if isinstance(answer, Task)]
    if view["missing"]:
        lines.append("unknown to AceDataCloud, check these ids: " + " ".join(view["missing"]))
    lines += _unavailable_lines(lookup)
    return "\n".join(lines)


def task_text(task: Task, now: float, ask_again_in_seconds: float | None) -> str:
    """Return the line for one task, with advice that fits its state."""
    if ask_again_in_seconds is None:
        return task_line(task, now)
    return f"{task_line(task, now)}\nAsk again in {ask_again_in_seconds:g} s."


def task_line(task: Task, now: float) -> str:
    """Return the line for one task: for a finished one its id, state, video_id and URL."""
    if task.is_final:
        return _final_line(task)
    age = now - task.created_at if task.created_at is not None else 0.0
    advice = " for over 10 minutes: likely stuck, tell the user" if age > STUCK_SECONDS else ""
    return f"{task.id} {task.state.value}{advice}"


def error_text(fault: LumaError) -> str:
    """Return a failed call as a sentence that begins with its code."""
    wait = f" Try again in {fault.advised_wait_seconds:g} s." if fault.advised_wait_seconds is not None else ""
    return f"{fault.code.value}: {fault}{wait}"


@lru_cache(maxsize=4096)
def _final_line(task: Task) -> str:
    if task.state is TaskState.FAILED or task.video is None:
        reason = f" {task.failure.code.value}: {task.failure.message}" if task.failure else ""
        return f"{task.id} failed{reason}"
    video_id = f" video_id={task.video.video_id}" if task.video.video_id else ""
    return f"{task.id} completed{video_id} {task.video.url}"


def _summary(view: BatchView) -> str:
    counted = ", ".join(f"{count} {what}" for what, count in view["counts"].items() if count)
    wait = view["ask_again_in_seconds"]
    return f"{counted}." if wait is None else f"{counted}. Ask again in {wait:g} s."


def _unavailable_lines(lookup: Lookup) -> list[str]:
    """Name each reason once, with the ids that it holds for."""
    reasons: dict[str, list[str]] = {}
    for task_id, answer in lookup.answers.items():
        if isinstance(answer, LumaError):
            reasons.setdefault(error_text(answer), []).append(task_id)
    return [f"unavailable now ({reason}): {' '.join(task_ids)}" for reason, task_ids in reasons.items()]
