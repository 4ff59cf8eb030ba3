"""The interface of a backend that generates videos, and the results of its calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from app.domain.access import Credential
from app.domain.backend import BackendDescription
from app.domain.generation import Command
from app.domain.task import LookupResult


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one batch read.

    Attributes:
        answers: one answer for each requested id, by id.
        calls: number of HTTP calls to the backend.

    """

    answers: Mapping[str, LookupResult]
    calls: int


@dataclass(frozen=True, slots=True)
class CallbackReport:
    """The parsed body of a callback, which is not authenticated.

    Attributes:
        task_id: the task that the callback names.
        has_ended: whether the callback reports the end of the task; false for progress of a running task.

    """

    task_id: str
    has_ended: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """The result of a health check of the backend.

    Attributes:
        is_good: whether the backend answered without a server error.
        words: the result as one line for operators.

    """

    is_good: bool
    words: str


class VideoBackend(Protocol):
    """A backend that generates videos. Its HTTP connections are open inside `async with`."""

    @property
    def description(self) -> BackendDescription:
        """The backend's name, capabilities and policy. They never change."""
        ...

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""
        ...

    async def find_tasks(
        self, credential: Credential, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> BatchResult:
        """Read tasks, free of charge. If a read fails, its error is the answer for each id in it. Raises nothing.

        `on_send` is called just before each call is sent, after its wait in the concurrency limiter.
        """
        ...

    async def submit(self, credential: Credential, command: Command) -> str:
        """Start a generation and return its task id. It costs money, so the adapter never sends a command twice.

        Raises OutcomeUnknown if the generation may have started, and another LumaError if it did not.
        """
        ...

    async def find_by_callback(
        self,
        credential: Credential,
        command: Command,
        reported_ids: Sequence[str],
        is_purchase_callback: Callable[[str], bool],
    ) -> str | None:
        """Return the id of the task that a purchase has started; None if it cannot be determined.

        The task was submitted with `command` and a callback URL that satisfies `is_purchase_callback`. `reported_ids`
        are the task ids in callbacks to this URL, which anybody may forge. A backend that can list its tasks does not
        need them. Raises LumaError if a read failed.
        """
        ...

    def parse_callback(self, body: bytes) -> CallbackReport | None:
        """Return the content of a callback's body; None if the body is not a callback of this backend."""
        ...

    async def check(self, seconds: float) -> Health:
        """Check whether the backend answers within `seconds`, and return the result. Nothing is started or charged."""
        ...
