"""Cancels the asyncio task of a request when its client disconnects, without a second task to watch the connection."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

DISCONNECT_SIGNAL = "luma_mcp.disconnect_signal"
"""Key of the DisconnectSignal in the ASGI scope of a request."""


class DisconnectSignal:
    """Cancels the asyncio task of one request when its client disconnects.

    It also counts memory of the request, which the connection reports to the memory budget of the process.

    Attributes:
        owner: the tenant of the request; "" until it is authenticated.
        head_bytes: memory of the request's head, in bytes.
        application_has_begun: whether the application has started on the request. Until then the connection reports
            `head_bytes`.
        disconnected: set when the client has disconnected.
        answer_until: time until which the response may be held back. RefusalPace sets and reads it; None before.
        application_bytes: memory of the request in the application, if the connection reports it. Set by `hold`.

    """

    __slots__ = (
        "_on_begin",
        "_on_hold",
        "_task",
        "answer_until",
        "application_bytes",
        "application_has_begun",
        "disconnected",
        "head_bytes",
        "owner",
    )

    def __init__(
        self,
        head_bytes: int = 0,
        on_begin: Callable[[], None] | None = None,
        on_hold: Callable[[], None] | None = None,
    ) -> None:
        """Start connected. `on_begin` is called once, when the application starts on the request.

        `on_hold` is called after each change of `application_bytes`, until the connection is lost.
        """
        self.head_bytes = head_bytes
        self.application_has_begun = False
        self.application_bytes = 0
        self._on_begin = on_begin or _nothing
        self._on_hold = on_hold or _nothing
        self.disconnected = asyncio.Event()
        self.answer_until: float | None = None
        self.owner = ""
        self._task: asyncio.Task[object] | None = None

    def begin(self) -> None:
        """Record that the application has started on the request. The connection no longer reports `head_bytes`."""
        self.application_has_begun = True
        self._on_begin()
        self._on_begin = _nothing

    def hold(self, amount: int) -> None:
        """Add `amount` to `application_bytes`. The connection is closed if the memory budget is exceeded."""
        self.application_bytes += amount
        self._on_hold()

    def release(self) -> None:
        """Record that the application has ended the request, and holds nothing of it."""
        self.application_bytes = 0
        self._on_hold()

    def detach(self) -> None:
        """Record that the connection is lost. It reports no memory any more."""
        self._on_hold = _nothing

    def notify(self) -> None:
        """Record that the client has disconnected, and cancel the task if it runs."""
        self.disconnected.set()
        if self._task is not None:
            self._task.cancel()

    async def while_connected(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run `app` in the current task until the client disconnects. Other cancellations propagate."""
        if self.disconnected.is_set():
            return
        self._task = task = asyncio.current_task()
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not self.disconnected.is_set() or task is None or task.uncancel() > 0:
                raise
        finally:
            self._task = None


def _nothing() -> None:
    return None
