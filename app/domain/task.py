"""A generation as the service sees it, whatever the backend calls its parts."""

from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.errors import ErrorCode, LumaError

YEAR_3000 = 32_503_680_000
"""Unix seconds; a later time, or one in milliseconds, is no time."""


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
    def is_final(self) -> bool:
        """Whether the task can never change again."""
        return self.state is TaskState.COMPLETED or self.state is TaskState.FAILED


Answer = Task | LumaError | None
"""What asking about one id gives: the task, why it cannot be read now, or None where the backend knows no such id."""


@dataclass(frozen=True, slots=True)
class LookupStats:
    """What one question cost, for the log line and the metrics: counts of ids, but for `backend_calls`."""

    local_hits: int = 0
    shared_hits: int = 0
    joined: int = 0
    fetched: int = 0
    backend_calls: int = 0


NO_STATS = LookupStats()
