"""A name for every request, in its log line and in its answer, so that a person can say which one they mean."""

import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.guards import header

REQUEST_ID = "luma_mcp.request_id"
"""Where a request's scope carries its id."""

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """Takes over the X-Request-ID of a proxy in front where it is a plain one, and makes one otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the request, and its answer with it."""
        given = header(scope, b"x-request-id")
        request_id = given if given is not None and _PLAIN.fullmatch(given) else secrets.token_hex(8)
        scope[REQUEST_ID] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        await self._app(scope, receive, named)
