"""Middleware that counts the memory of requests outside /mcp and /admin/v1: pages, forms of sign-in and callbacks.

These requests have no caller with a quota, so their connections count them: NOBODY in the memory budget. Beyond its
share, the connection that has held memory longest is closed, and not the newest request refused. Half-sent bodies thus
keep nobody else out.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.middleware.fair_scheduling import PROBES
from app.web.middleware.request_memory import PARTIAL_REQUEST_BYTES

BODY_FACTOR = 2
"""Memory for each byte of a body: in its growing buffer, and in the copy that is parsed."""


class PageMemoryMiddleware:
    """Counts each request, and the bytes of its body that the application has received, to the end of its response."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`, whose requests no RequestMemoryMiddleware counts."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count it. Probes are not counted, so that a full budget never fails them."""
        disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
        if disconnect is None or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return

        async def counted() -> Message:
            message = await receive()
            if body := message.get("body"):
                disconnect.hold(BODY_FACTOR * len(body))
            return message

        disconnect.hold(PARTIAL_REQUEST_BYTES)
        try:
            await self._app(scope, counted, send)
        finally:
            disconnect.release()
