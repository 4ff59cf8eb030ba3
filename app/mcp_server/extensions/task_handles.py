"""Handles of the Tasks extension.

A handle is a sealed token: any replica can open it, it cannot be guessed, and it is valid for its own tenant only.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.access import Principal
from app.ports.sealing import Sealer

PURPOSE = "task"
"""The purpose for which handles are sealed."""

PREFIX = "v1."
TTL_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class TaskHandle:
    """A handle, and its content.

    Attributes:
        text: the handle as the client sends it.
        task_id: the backend's id of the task.
        created_at: time of the task's creation (unix seconds).

    """

    text: str
    task_id: str
    created_at: float


class TaskHandles:
    """Makes and opens handles."""

    def __init__(self, sealer: Sealer, wall_clock: Callable[[], float]) -> None:
        """Seal with `sealer`. `wall_clock` returns unix seconds."""
        self._sealer = sealer
        self._wall_clock = wall_clock

    def make(self, principal: Principal, task_id: str, created_at: float) -> TaskHandle:
        """Return a handle that only the tenant of `principal` can use."""
        content = {"id": task_id, "created": created_at}
        return TaskHandle(PREFIX + self._sealer.seal(PURPOSE, content, principal.owner), task_id, created_at)

    def open(self, principal: Principal, text: str) -> TaskHandle | None:
        """Return the handle; None if it is malformed or expired, or was made for another tenant than `principal`'s."""
        if not text.startswith(PREFIX):
            return None
        content = self._sealer.unseal(PURPOSE, text.removeprefix(PREFIX), principal.owners)
        if content is None or self._wall_clock() - content["created"] > TTL_SECONDS:
            return None
        return TaskHandle(text, content["id"], content["created"])
