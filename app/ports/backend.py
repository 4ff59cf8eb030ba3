"""A backend that makes videos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.task import Answer


@dataclass(frozen=True, slots=True)
class Reading:
    """What one question to the backend gave: an answer for every id asked, and how many calls it took."""

    answers: Mapping[str, Answer]
    calls: int


class VideoBackend(Protocol):
    """The backend that makes videos."""

    async def find_tasks(
        self, principal: Principal, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> Reading:
        """Read the tasks named; free of charge. A fault belongs to the ids it touched and is among the answers.

        `on_send` is called before each call to the backend, once it no longer waits for a place.
        """
        ...

    async def submit(self, principal: Principal, command: Command) -> str:
        """Start a generation and return its task id; costs money, so it is never sent twice.

        Raises LumaError where it was not started, or where nobody can tell.
        """
        ...

    async def callback_url_of(self, principal: Principal, task_id: str, command: Command) -> str | None:
        """Return what the backend was told to call for the task, if it knows it and echoes nothing but `command`.

        Raises LumaError.
        """
        ...
