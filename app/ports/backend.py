"""A backend that makes videos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from app.domain.access import Credential
from app.domain.backend import BackendDescription
from app.domain.generation import Command
from app.domain.task import Answer


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one batch read.

    Attributes:
        answers: one for each id asked.
        calls: number of calls to the backend.

    """

    answers: Mapping[str, Answer]
    calls: int


@dataclass(frozen=True, slots=True)
class CallbackReport:
    """The content of a callback. `has_ended` is false for a task that still runs."""

    task_id: str
    has_ended: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the backend, and a line about it for operators."""

    is_good: bool
    words: str


class VideoBackend(Protocol):
    """A backend that makes videos. It holds its connections while entered."""

    @property
    def description(self) -> BackendDescription:
        """Its name, abilities and rules, which never change."""
        ...

    async def __aenter__(self) -> Self:
        """Open what its calls need."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""
        ...

    async def find_tasks(
        self, credential: Credential, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> BatchResult:
        """Read the tasks named; free of charge. An error is the answer of the ids that it concerns.

        `on_send` is called before each call to the backend, once it no longer waits for a place.
        """
        ...

    async def submit(self, credential: Credential, command: Command) -> str:
        """Start a generation and return its task id; costs money, so it is never sent twice.

        Raises OutcomeUnknown if it may have been started, and another LumaError if it was not.
        """
        ...

    async def find_by_callback(
        self, credential: Credential, command: Command, claimed: Sequence[str], is_its_url: Callable[[str], bool]
    ) -> str | None:
        """Return the task that was submitted with `command` and with a callback URL that `is_its_url`.

        `claimed` are the tasks that callbacks to this URL named, which anybody may have sent; a backend that can list
        its tasks may find it without them. None where nobody can tell. Raises LumaError.
        """
        ...

    def parse_callback(self, body: bytes) -> CallbackReport | None:
        """Return what the body of a callback claims; None where it is no callback of this backend."""
        ...

    async def check(self, seconds: float) -> Health:
        """Say whether the backend answers within `seconds`, without starting or charging anything."""
        ...
