"""The news that a client has left, for the request that it waits for: without a task that watches the connection."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

DISCONNECT_SIGNAL = "luma_mcp.departure"
"""Where a request's scope carries its Departure."""


class DisconnectSignal:
    """Whether the client of one request has left, and the task that ends with it.

    `owner` is whose request it is, once that is known, for the connection; `head_bytes` is what its head takes. The
    connection counts that until the request has begun. It reads nothing for `rest_seconds` after the answer.
    """

    __slots__ = ("_on_begin", "_task", "_told", "has_begun", "head_bytes", "owner", "rest_seconds")

    def __init__(self, head_bytes: int = 0, on_begin: Callable[[], None] | None = None) -> None:
        """Start with a client that is there; `on_begin` is called when the request has begun."""
        self.head_bytes = head_bytes
        self.has_begun = False
        self.rest_seconds = 0.0
        self._on_begin = on_begin or _nothing
        self._told = False
        self.owner = ""
        self._task: asyncio.Task[object] | None = None

    def begin(self) -> None:
        """Note that the request has begun: its head is counted by whoever answers it from now on."""
        self.has_begun = True
        self._on_begin()
        self._on_begin = _nothing

    def tell(self) -> None:
        """End the task: its client has left."""
        self._told = True
        if self._task is not None:
            self._task.cancel()

    async def while_connected(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request in the current task as long as its client is there."""
        if self._told:
            return
        self._task = task = asyncio.current_task()
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._told or task is None or task.uncancel() > 0:
                raise
        finally:
            self._task = None


def _nothing() -> None:
    return None
