"""A generation as the service sees it, whatever the backend calls its parts."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.errors import ErrorCode, LumaError
from app.domain.foreign_text import LONGEST_SHOWN_PROMPT, is_plain_id, visible_line
from app.domain.public_url import is_plain_url

YEAR_3000 = 32_503_680_000
"""Unix seconds; a later time, or one in milliseconds, is no time."""


LONGEST_FAILURE = 500
"""Characters of a failure's message: one sentence of ours and at most 200 characters of a quotation."""

TASK_BYTES = 1000
"""About what a task takes in memory beside its texts."""


class TaskState(StrEnum):
    """Where a generation stands; the last two never change again."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Video:
    """What a completed generation left behind; only the URL is certain.

    `expires_at` is when the URL dies (unix seconds).
    """

    url: str = field(repr=False)
    video_id: str | None = None
    width: int | None = None
    height: int | None = None
    thumbnail_url: str | None = field(default=None, repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a generation failed, in our words."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Task:
    """One generation. Times are unix seconds; None means that the backend has not said."""

    id: str
    state: TaskState
    prompt: str | None = field(default=None, repr=False)
    video: Video | None = None
    failure: Failure | None = None
    created_at: float | None = None
    finished_at: float | None = None
    elapsed_seconds: float | None = None

    def __hash__(self) -> int:
        """Hash by id alone: cheap where tasks are looked up by the hundred, and equal tasks have equal ids."""
        return hash(self.id)

    @property
    def has_plausible_times(self) -> bool:
        """Whether every time is one that a calendar has; what comes out of a store may have been forged."""
        expiry = self.video.expires_at if self.video is not None else None
        times = (self.created_at, self.finished_at, expiry)
        return all(moment is None or 0 <= moment < YEAR_3000 for moment in times)

    @property
    def has_showable_text(self) -> bool:
        """Whether its texts are as a backend's adapter leaves them; what comes out of a store may have been forged."""
        video, failure, prompt = self.video, self.failure, self.prompt
        if video is not None and not (
            is_plain_url(video.url)
            and (video.video_id is None or is_plain_id(video.video_id))
            and (video.thumbnail_url is None or is_plain_url(video.thumbnail_url))
        ):
            return False
        if failure is not None and failure.message != visible_line(failure.message, LONGEST_FAILURE):
            return False
        return is_plain_id(self.id) and (prompt is None or prompt == visible_line(prompt, LONGEST_SHOWN_PROMPT))

    @property
    def size_bytes(self) -> int:
        """About what the task takes in memory."""
        texts = [self.id, self.prompt or "", self.failure.message if self.failure is not None else ""]
        if self.video is not None:
            texts += [self.video.url, self.video.video_id or "", self.video.thumbnail_url or ""]
        return TASK_BYTES + sum(map(sys.getsizeof, texts))

    @property
    def is_final(self) -> bool:
        """Whether the task can never change again."""
        return self.state is TaskState.COMPLETED or self.state is TaskState.FAILED


Answer = Task | LumaError | None
"""What asking about one id gives: the task, why it cannot be read now, or None where the backend knows no such id."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What one question cost, for the log line and the metrics: counts of ids, but for `backend_calls`."""

    local_hits: int = 0
    shared_hits: int = 0
    joined: int = 0
    fetched: int = 0
    backend_calls: int = 0


NO_EFFORT = Effort()


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answers to one question, by id, in the order asked, each id once."""

    answers: Mapping[str, Answer]
    effort: Effort
