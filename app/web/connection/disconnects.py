"""Cancels a request when its client disconnects, without a second asyncio task that watches the connection."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

DISCONNECT_SIGNAL = "luma_mcp.departure"
"""Key of the DisconnectSignal in a request's scope."""


class DisconnectSignal:
    """Cancels the asyncio task of one request when its client disconnects.

    Attributes:
        owner: the tenant of the request; "" until it is authenticated.
        head_bytes: memory of the request's head.
        has_begun: whether the application has started on the request. Until then its head counts for the connection.
        pause_seconds: time for which the connection is not read after the response.

    """

    __slots__ = ("_is_disconnected", "_on_begin", "_task", "has_begun", "head_bytes", "owner", "pause_seconds")

    def __init__(self, head_bytes: int = 0, on_begin: Callable[[], None] | None = None) -> None:
        """Start connected. `on_begin` is called when the application starts on the request."""
        self.head_bytes = head_bytes
        self.has_begun = False
        self.pause_seconds = 0.0
        self._on_begin = on_begin or _nothing
        self._is_disconnected = False
        self.owner = ""
        self._task: asyncio.Task[object] | None = None

    def begin(self) -> None:
        """Record that the application has started on the request, which counts its head from now on."""
        self.has_begun = True
        self._on_begin()
        self._on_begin = _nothing

    def notify(self) -> None:
        """Record that the client has disconnected, and cancel the task."""
        self._is_disconnected = True
        if self._task is not None:
            self._task.cancel()

    async def while_connected(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run `app` in the current task until the client disconnects. Other cancellations propagate."""
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
