"""Tasks: generations, independent of the backend's own format."""

from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.errors import ErrorCode, LumaError

YEAR_3000 = 32_503_680_000
"""Unix seconds. A later time from a backend is ignored: it is in milliseconds, or wrong."""


class TaskState(StrEnum):
    """The state of a generation; the last two are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Video:
    """The result of a completed generation. None means that the backend has not said.

    Attributes:
        width: in pixels, like `height`.
        expires_at: when the URL stops working (unix seconds).

    """

    url: str = field(repr=False)
    video_id: str | None = None
    width: int | None = None
    height: int | None = None
    thumbnail_url: str | None = field(default=None, repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a generation failed, in a sentence of this service."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Task:
    """One generation. Times are unix seconds; None means that the backend has not said.

    Attributes:
        elapsed_seconds: duration of the finished generation, from the backend or from its times.

    """

    id: str
    state: TaskState
    prompt: str | None = field(default=None, repr=False)
    video: Video | None = None
    failure: Failure | None = None
    created_at: float | None = None
    finished_at: float | None = None
    elapsed_seconds: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether the task can never change again."""
        return self.state is TaskState.COMPLETED or self.state is TaskState.FAILED


LookupResult = Task | LumaError | None
"""The result for one id: the task, the error that prevented the read, or None for an id unknown to the backend."""


@dataclass(frozen=True, slots=True)
class LookupStats:
    """Statistics of one lookup, for the log line and the metrics.

    Attributes:
        local_hits: ids found in the cache of this process.
        shared_hits: ids found in the shared store.
        joined: ids whose fetch was in flight for another caller, or that a poller read.
        fetched: ids that needed a read at the backend.
        backend_calls: number of HTTP calls for these reads.

    """

    local_hits: int = 0
    shared_hits: int = 0
    joined: int = 0
    fetched: int = 0
    backend_calls: int = 0


NO_STATS = LookupStats()
