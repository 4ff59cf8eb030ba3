"""Middleware that counts the memory of requests outside /mcp and /admin/v1: pages, forms of sign-in and callbacks.

These requests have no caller, so the memory budget counts their memory for their connections, under the owner NOBODY.
If the connections of NOBODY hold too much, the one that has held memory longest is closed, and no request
is refused. Thus clients that never finish their bodies do not keep others out.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.middleware.fair_scheduling import PROBES
from app.web.middleware.request_memory import PARTIAL_REQUEST_BYTES

BODY_FACTOR = 2
"""Memory for each byte of a body: once in the buffer that receives it, once in the copy that is parsed."""


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
