"""Middleware that authenticates the bearer token of each request, and stores the Caller in the ASGI scope."""

import math
from dataclasses import replace
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.auth.bearer_token import bearer_token, is_oversized
from app.domain.access import PASSTHROUGH_SCOPES, Principal
from app.domain.errors import InternalError
from app.observability.metrics import Metrics
from app.ports.auth import AccessRefused, AuthenticationUnavailable, Authenticator, TokenFault
from app.services.limits.refused_tokens import RefusedTokens
from app.web.asgi import header, send_error
from app.web.auth.challenges import Challenges
from app.web.tool_filter import READ_ONLY_KEY

CALLER = "luma_mcp.caller"
"""Key of the Caller in the ASGI scope of a request."""

TOO_MANY_REFUSED = (
    "Many tokens from your network address were refused, so this one was not checked. Wait as long as Retry-After "
    "says, and send a valid token. A refused token will be refused again."
)


class BearerAuthMiddleware:
    """Answers 401 without a valid bearer token, 403 without any permission, 429 in a flood, and 503 in an outage.

    A flood is many refused tokens from one network address. A request without a token is not counted: it costs no
    look-up, and its 401 says how to authenticate. An outage is one of the identity provider or the database.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        challenges: Challenges,
        metrics: Metrics,
        refused_tokens: RefusedTokens,
    ) -> None:
        """Wrap `app`. Refusals are counted in `metrics`. `refused_tokens` throttles addresses in a flood."""
        self._refused_tokens = refused_tokens
        self._app = app
        self._authenticator = authenticator
        self._challenges = challenges
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its Caller, or answer 401, 403, 429 or 503."""
        authorization = header(scope, b"authorization")
        token = bearer_token(authorization)
        address = client[0] if (client := scope.get("client")) else None
        if token is not None and (wait_seconds := self._refused_tokens.throttle(address, token)) is not None:
            await self._send_too_many_refused(wait_seconds, send)
            return
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
            if token is not None:
                self._refused_tokens.record_refused(address, token)
            await self._send_unauthorized(authorization, send, is_read_only=READ_ONLY_KEY in scope)
        elif caller.can_ask_for_scopes and not caller.principal.scopes:
            self._metrics.refused(403)
            await self._challenges.ask_for_scopes(send, PASSTHROUGH_SCOPES, is_read_only=READ_ONLY_KEY in scope)
        else:
            if caller.can_ask_for_scopes and token is not None:  # other callers keep the authenticator's `current`
                caller = replace(caller, current=partial(self._principal_now, token))
            scope[CALLER] = caller
            await self._app(scope, receive, send)

    async def _principal_now(self, token: str) -> Principal | None:
        """Return the current principal of a token that is still accepted, else None.

        Raises InternalError if the token cannot be checked now.
        """
        try:
            caller = await self._authenticator.authenticate(token)
        except AccessRefused:
            return None
        except AuthenticationUnavailable as exc:
            raise InternalError(str(exc), retry_after_seconds=5.0) from None
        return None if caller is None else caller.principal

    async def _send_too_many_refused(self, seconds: float, send: Send) -> None:
        self._metrics.refused(429)
        retry_after = (b"retry-after", str(math.ceil(seconds)).encode())
        await send_error(send, 429, "rate_limited", TOO_MANY_REFUSED, retry_after)

    async def _send_unauthorized(self, authorization: str | None, send: Send, *, is_read_only: bool) -> None:
        self._metrics.refused(401)
        if is_oversized(authorization):
            self._metrics.token_refused(TokenFault.OVERSIZED)
        await self._challenges.ask_for_token(send, was_refused=bool(authorization), is_read_only=is_read_only)
