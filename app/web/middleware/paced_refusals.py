"""Middleware that holds back refusals outside /mcp, such as by a limit of sign-in."""

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.middleware.fair_scheduling import PROBES
from app.web.refusal_pace import RefusalPace


class PacedRefusalsMiddleware:
    """Holds back responses with a status of 400 or above, except to probes. The time is short while they are few."""

    def __init__(self, app: ASGIApp, pace: RefusalPace) -> None:
        """Wrap `app`. `pace` determines the time."""
        self._app = app
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and hold back a response with a status of 400 or above."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return

        async def pacing(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
                await self._pace.hold_back(scope)
            await send(message)

        await self._app(scope, receive, pacing)
