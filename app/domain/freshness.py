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
        min_read_interval_seconds: minimum interval between two reads of a task by the service.
        max_read_interval_seconds: maximum interval between two reads of a task by the service.
        read_without_callback_seconds: age at which a task is read although its callback has not arrived.
        client_first_poll_seconds: age of a task at which callers should poll it for the first time.
        client_poll_interval_seconds: interval at which callers should poll it afterwards.
        stuck_after_seconds: age after which a running task is reported as likely stuck.

    """

    expected_seconds: float
    first_read_seconds: float
    min_read_interval_seconds: float
    max_read_interval_seconds: float
    read_without_callback_seconds: float
    client_first_poll_seconds: int
    client_poll_interval_seconds: int
    stuck_after_seconds: float


def time_to_live(task: Task, now: float, policy: CachePolicy) -> float:
    """Return the time to live of `task` in the cache, in seconds; always more than zero.

    A final task past its time to live, or with an expired URL, is cached for `pending_seconds`.
    """
    if not task.is_final:
        return policy.pending_seconds
    ended_at = task.finished_at if task.finished_at is not None else task.created_at
    age = max(0.0, now - ended_at) if ended_at is not None else 0.0
    remaining = policy.result_seconds - age
    if (expiry := video_url_expires_at(task)) is not None:
        remaining = min(remaining, expiry - now)
    return max(remaining, policy.pending_seconds)


def video_url_expires_at(task: Task) -> float | None:
    """Return when the task's video URL expires (unix seconds); None without a URL or a known time."""
    return task.video.expires_at if task.video is not None else None


def poll_after(results: Iterable[TaskResult | LookupResult], now: float, polling: PollingPolicy) -> int | None:
    """Return after how many whole seconds a caller should poll again; None if polling is of no use."""
    waits = [wait for result in results if (wait := _advised_wait(result, now, polling)) is not None]
    return min(waits) if waits else None


def _advised_wait(result: TaskResult | LookupResult, now: float, polling: PollingPolicy) -> int | None:
    if result is None:
        return None
    if isinstance(result, LumaError):
        return max(1, ceil(result.advised_wait_seconds)) if result.advised_wait_seconds is not None else None
    if result.is_final:
        return None
    age = max(0.0, now - result.created_at) if result.created_at is not None else 0.0
    return max(polling.client_poll_interval_seconds, ceil(polling.client_first_poll_seconds - age))
