"""How long an answer stays true, and when it is worth asking again."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from app.domain.errors import LumaError
from app.domain.rendered import TaskResult
from app.domain.task import Answer, Task

VIDEO_LIFE_SECONDS = 30 * 24 * 3600.0
"""How long a result URL works, by AceDataCloud's storage FAQ."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long answers are kept, in seconds: final ones counted from their finish, running ones from the reading."""

    result_seconds: float
    pending_seconds: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a backend works: `expected_seconds` is what a generation takes as a rule."""

    expected_seconds: float

    @property
    def first_question_seconds(self) -> int:
        """The age at which a task may first have changed."""
        return ceil(self.expected_seconds * 0.4)

    @property
    def next_question_seconds(self) -> int:
        """The pause between later questions; AceDataCloud's concurrency FAQ advises 5 to 15 s."""
        return ceil(min(15.0, max(2.0, self.expected_seconds / 10)))


def time_to_live(task: Task, now: float, lifetimes: Lifetimes) -> float:
    """Return for how many seconds `task` may be answered from the cache; always more than zero.

    A final task whose video URL has died is treated like a running one: kept for moments, then asked for anew.
    """
    if not task.is_final:
        return lifetimes.pending_seconds
    ended_at = task.finished_at if task.finished_at is not None else task.created_at
    age = max(0.0, now - ended_at) if ended_at is not None else 0.0
    return max(lifetimes.result_seconds - age, lifetimes.pending_seconds)


def expires_at(task: Task) -> float | None:
    """Return when the task's video URL dies (unix seconds), or None where there is none or its finish is unknown."""
    if task.video is None or task.finished_at is None:
        return None
    return task.finished_at + VIDEO_LIFE_SECONDS


def ask_again_after(answers: Iterable[TaskResult | Answer], now: float, pace: Pace) -> int | None:
    """Return in how many whole seconds to ask about `answers` again, or None where nothing can change any more."""
    waits = [wait for answer in answers if (wait := _wait_for(answer, now, pace)) is not None]
    return min(waits) if waits else None


def _wait_for(answer: TaskResult | Answer, now: float, pace: Pace) -> int | None:
    if answer is None:
        return None
    if isinstance(answer, LumaError):
        return max(1, ceil(answer.advised_wait_seconds)) if answer.advised_wait_seconds is not None else None
    if answer.is_final:
        return None
    age = max(0.0, now - answer.created_at) if answer.created_at is not None else 0.0
    return max(pace.next_question_seconds, ceil(pace.first_question_seconds - age))
