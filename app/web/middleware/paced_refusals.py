"""Middleware that slows down clients that are refused outside /mcp, such as by a limit of sign-in."""

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.connection.refusal_pace import RefusalPace
from app.web.middleware.fair_scheduling import PROBES


class PacedRefusalsMiddleware:
    """Pauses the connection of each refused request, except probes. The pause is short while refusals are few."""

    def __init__(self, app: ASGIApp, pace: RefusalPace) -> None:
        """Wrap `app`. `pace` determines the pauses."""
        self._app = app
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. A response with a status of 400 or above pauses its connection."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return

        async def pacing(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
                self._pace.delay_next_read(scope)
            await send(message)

        await self._app(scope, receive, pacing)
