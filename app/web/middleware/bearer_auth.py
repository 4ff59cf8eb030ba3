"""Middleware that authenticates the bearer token of each request, and puts the Caller into the request's scope."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.auth.bearer_token import bearer_token, is_oversized
from app.domain.access import PASSTHROUGH_SCOPES
from app.observability.metrics import Metrics
from app.ports.auth import AccessRefused, AuthenticationUnavailable, Authenticator, TokenFault
from app.web.asgi import header, send_error
from app.web.auth.challenges import Challenges

CALLER = "luma_mcp.caller"
"""Key of the Caller in a request's scope."""


class BearerAuthMiddleware:
    """Answers 401 to requests without a valid bearer token, and 403 to holders who may do nothing here."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, challenges: Challenges, metrics: Metrics) -> None:
        """Wrap `app`. Refusals are counted in `metrics`."""
        self._app = app
        self._authenticator = authenticator
        self._challenges = challenges
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its Caller, or answer 401, 403 or 503."""
        authorization = header(scope, b"authorization")
        token = bearer_token(authorization)
        try:
            caller = await self._authenticator.authenticate(token) if token is not None else None
        except AuthenticationUnavailable as exc:
            self._metrics.refused(503)
            await send_error(send, 503, "unavailable", str(exc), (b"retry-after", b"5"))
            return
        except AccessRefused as exc:
            self._metrics.refused(403)
            await send_error(send, 403, "forbidden", str(exc))
            return
        if caller is None:
            await self._ask_for_token(authorization, send)
        elif caller.can_ask_for_scopes and not caller.principal.scopes:
            self._metrics.refused(403)
            await self._challenges.ask_for_scopes(send, PASSTHROUGH_SCOPES)
        else:
            scope[CALLER] = caller
            await self._app(scope, receive, send)

    async def _ask_for_token(self, authorization: str | None, send: Send) -> None:
        self._metrics.refused(401)
        if is_oversized(authorization):
            self._metrics.token_refused(TokenFault.OVERSIZED)
        await self._challenges.ask_for_token(send, was_refused=bool(authorization))
