"""Cancels a request whose client disconnects, without a task that watches the connection."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

DISCONNECT_SIGNAL = "luma_mcp.departure"
"""Key of the DisconnectSignal in a request's scope."""


class DisconnectSignal:
    """Cancels the asyncio task of one request when its client disconnects.

    Attributes:
        owner: the tenant of the request; "" until it is known.
        head_bytes: memory of the request's head.
        has_begun: whether the application has started on the request; until then the connection counts its head.
        rest_seconds: how long the connection reads nothing after the answer.

    """

    __slots__ = ("_is_disconnected", "_on_begin", "_task", "has_begun", "head_bytes", "owner", "rest_seconds")

    def __init__(self, head_bytes: int = 0, on_begin: Callable[[], None] | None = None) -> None:
        """Start connected; `on_begin` is called when the request has begun."""
        self.head_bytes = head_bytes
        self.has_begun = False
        self.rest_seconds = 0.0
        self._on_begin = on_begin or _nothing
        self._is_disconnected = False
        self.owner = ""
        self._task: asyncio.Task[object] | None = None

    def begin(self) -> None:
        """Note that the request has begun: the application counts its head from now on."""
        self.has_begun = True
        self._on_begin()
        self._on_begin = _nothing

    def notify(self) -> None:
        """Cancel the task: its client has disconnected."""
        self._is_disconnected = True
        if self._task is not None:
            self._task.cancel()

    async def while_connected(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request in the current task until its client disconnects."""
        if self._is_disconnected:
            return
        self._task = task = asyncio.current_task()
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._is_disconnected or task is None or task.uncancel() > 0:
                raise
        finally:
            self._task = None


def _nothing() -> None:
    return None
