"""Middleware that gives each request an id, which its log line and its answer show."""

import itertools
import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.asgi import header

REQUEST_ID = "luma_mcp.request_id"
"""Key of the id in a request's scope."""

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Uses the X-Request-ID of a proxy if it is well-formed, and makes an id otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app
        self._prefix = secrets.token_hex(4)  # another in each process
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the id into the request's scope and into the answer."""
        given = header(scope, b"x-request-id")
        if given is None or not _PLAIN.fullmatch(given):
            given = f"{self._prefix}{next(self._numbers):08x}"
        request_id = scope[REQUEST_ID] = given

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        await self._app(scope, receive, named)
