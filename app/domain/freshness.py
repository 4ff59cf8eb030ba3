"""Time to live of cached results, and intervals between reads."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from app.domain.errors import LumaError
from app.domain.rendered import TaskResult
from app.domain.task import LookupResult, Task


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Time to live of cached tasks.

    Attributes:
        result_seconds: for final tasks, counted from their end.
        pending_seconds: for running tasks, counted from the read.

    """

    result_seconds: float
    pending_seconds: float


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """The expected duration of a generation, and the intervals at which the service and its callers poll a task.

    Attributes:
        expected_seconds: usual duration of a generation.
        first_read_seconds: age of a task at the service's first read.
        shortest_pause_seconds: minimum between two reads of a task by the service.
        longest_pause_seconds: maximum between two reads of a task by the service.
        read_without_callback_seconds: age at which a task is read although its callback has not arrived.
        first_question_seconds: age of a task at which callers are advised to ask for it first.
        next_question_seconds: advised pause between later requests of a caller.
        stuck_after_seconds: age after which a running task is reported as likely stuck.

    """

    expected_seconds: float
    first_read_seconds: float
    shortest_pause_seconds: float
    longest_pause_seconds: float
    read_without_callback_seconds: float
    first_question_seconds: int
    next_question_seconds: int
    stuck_after_seconds: float


def time_to_live(task: Task, now: float, policy: CachePolicy) -> float:
    """Return the time to live of `task` in the cache, in seconds; always more than zero.

    A final task whose video URL has expired is cached only as long as a running one, and then read again.
    """
    if not task.is_final:
        return policy.pending_seconds
    ended_at = task.finished_at if task.finished_at is not None else task.created_at
    age = max(0.0, now - ended_at) if ended_at is not None else 0.0
    remaining = policy.result_seconds - age
    if (expiry := expires_at(task)) is not None:
        remaining = min(remaining, expiry - now)
    return max(remaining, policy.pending_seconds)


def expires_at(task: Task) -> float | None:
    """Return when the task's video URL stops working (unix seconds); None without a URL or a known time."""
    return task.video.expires_at if task.video is not None else None


def ask_again_after(answers: Iterable[TaskResult | LookupResult], now: float, polling: PollingPolicy) -> int | None:
    """Return after how many whole seconds a caller should ask again about `answers`; None if asking is of no use."""
    waits = [wait for answer in answers if (wait := _advised_wait(answer, now, polling)) is not None]
    return min(waits) if waits else None


def _advised_wait(answer: TaskResult | LookupResult, now: float, polling: PollingPolicy) -> int | None:
    if answer is None:
        return None
    if isinstance(answer, LumaError):
        return max(1, ceil(answer.advised_wait_seconds)) if answer.advised_wait_seconds is not None else None
    if answer.is_final:
        return None
    age = max(0.0, now - answer.created_at) if answer.created_at is not None else 0.0
    return max(polling.next_question_seconds, ceil(polling.first_question_seconds - age))
