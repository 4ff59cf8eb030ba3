"""How long an answer stays true, and when it is worth asking again."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from app.domain.errors import LumaError
from app.domain.rendered import TaskResult
from app.domain.task import Answer, Task


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long answers are kept, in seconds: final ones counted from their finish, running ones from the reading."""

    result_seconds: float
    pending_seconds: float


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """How fast a backend works, and how often it is to be read.

    Attributes:
        expected_seconds: what a generation takes as a rule.
        first_read_seconds: the age at which the service reads a task for the first time.
        shortest_pause_seconds: the least between two reads of a task.
        longest_pause_seconds: the most between two reads of a task.
        read_without_callback_seconds: the age at which a task is read although its callback has not come.
        first_question_seconds: the age at which a caller may first find a task changed.
        next_question_seconds: the pause between a caller's later questions.
        stuck_after_seconds: the age from which waiting is unlikely to help.

    """

    expected_seconds: float
    first_read_seconds: float
    shortest_pause_seconds: float
    longest_pause_seconds: float
    read_without_callback_seconds: float
    first_question_seconds: int
    next_question_seconds: int
    stuck_after_seconds: float


def time_to_live(task: Task, now: float, lifetimes: CachePolicy) -> float:
    """Return for how many seconds `task` may be answered from the cache; always more than zero.

    A final task whose video URL has died is treated like a running one: kept for moments, then asked for anew.
    """
    if not task.is_final:
        return lifetimes.pending_seconds
    ended_at = task.finished_at if task.finished_at is not None else task.created_at
    age = max(0.0, now - ended_at) if ended_at is not None else 0.0
    left = lifetimes.result_seconds - age
    if (expiry := expires_at(task)) is not None:
        left = min(left, expiry - now)
    return max(left, lifetimes.pending_seconds)


def expires_at(task: Task) -> float | None:
    """Return when the task's video URL dies (unix seconds), or None where there is none or nobody knows."""
    return task.video.expires_at if task.video is not None else None


def ask_again_after(answers: Iterable[TaskResult | Answer], now: float, polling: PollingPolicy) -> int | None:
    """Return in how many whole seconds to ask about `answers` again, or None where nothing can change any more."""
    waits = [wait for answer in answers if (wait := _wait_for(answer, now, polling)) is not None]
    return min(waits) if waits else None


def _wait_for(answer: TaskResult | Answer, now: float, polling: PollingPolicy) -> int | None:
    if answer is None:
        return None
    if isinstance(answer, LumaError):
        return max(1, ceil(answer.advised_wait_seconds)) if answer.advised_wait_seconds is not None else None
    if answer.is_final:
        return None
    age = max(0.0, now - answer.created_at) if answer.created_at is not None else 0.0
    return max(polling.next_question_seconds, ceil(polling.first_question_seconds - age))
