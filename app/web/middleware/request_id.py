"""Middleware that assigns each request an id, for its log line and its X-Request-ID response header."""

import itertools
import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.asgi import header

REQUEST_ID = "luma_mcp.request_id"
"""Key of the id in the ASGI scope of a request."""

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Takes the id from the request's X-Request-ID header, which a proxy may set, if well-formed; else makes one."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app
        self._prefix = secrets.token_hex(4)  # differs between processes
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the id in the ASGI scope, and add it to the headers of the response."""
        request_id = header(scope, b"x-request-id")
        if request_id is None or not _WELL_FORMED.fullmatch(request_id):
            request_id = f"{self._prefix}{next(self._numbers):08x}"
        scope[REQUEST_ID] = request_id
        id_header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        await self._app(scope, receive, send_with_id)
