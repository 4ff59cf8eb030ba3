"""Cancels a request whose client disconnects, without a task that watches the connection."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

DISCONNECT_SIGNAL = "luma_mcp.departure"
"""Key of the DisconnectSignal in a request's scope."""


class DisconnectSignal:
    """Cancels the asyncio task of one request when its client disconnects.

    Attributes:
        owner: the tenant of the request; "" until it is known.
        head_bytes: memory of the request's head.

    """

    __slots__ = ("_is_disconnected", "_task", "head_bytes", "owner")

    def __init__(self, head_bytes: int = 0) -> None:
        """Start connected."""
        self.head_bytes = head_bytes
        self._is_disconnected = False
        self.owner = ""
        self._task: asyncio.Task[object] | None = None

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
