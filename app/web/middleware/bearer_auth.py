"""Middleware that authenticates the bearer token of each request, and puts the Caller into the request's scope."""

import math
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.auth.bearer_token import bearer_token
from app.ports.auth import AuthenticationUnavailable, Authenticator
from app.services.limits.refused_tokens import RefusedTokens
from app.web.asgi import header, send_error

CALLER = "luma_mcp.caller"
"""Key of the Caller in a request's scope."""


_HEADER = "Send it with each request: `Authorization: Bearer <token>`. There is no sign-in here."
HOW_TO_AUTHENTICATE: dict[tuple[str, ...], str] = {
    ("passthrough",): f"This service needs your own {{backend}} API token, which is made at {{account_url}}. {_HEADER}",
    ("keys",): f"This service needs the key of a team member, which begins with lmk_: ask its operator. {_HEADER}",
}
"""What a request without a valid token is told, by the ways to authenticate that are on."""

HOW_TO_AUTHENTICATE_EITHER_WAY = (
    "This service needs the key of a team member, which begins with lmk_, or your own {backend} API token, which is "
    f"made at {{account_url}}. {_HEADER}"
)


TOO_MANY_REFUSED = (
    "Many tokens from your network address were refused, so this one was not checked. Wait as long as Retry-After "
    "says, and send a valid token; asking again with a refused one does not help."
)


class BearerAuthMiddleware:
    """Answers 401 to requests without a valid bearer token, and 429 to addresses that send many refused ones.

    A request without a token is not counted: it costs no look-up, and its 401 tells clients how to authenticate.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        advice: str,
        refused: Callable[[int], None],
        refused_tokens: RefusedTokens,
    ) -> None:
        """Wrap `app`. `advice` is the message of the 401. `refused` receives the status of each refusal.

        `refused_tokens` throttles addresses that send many.
        """
        self._refused_tokens = refused_tokens
        self._app = app
        self._advice = advice
        self._authenticator = authenticator
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its Caller, or answer 401, 429 or 503."""
        authorization = header(scope, b"authorization")
        token = bearer_token(authorization)
        address = client[0] if (client := scope.get("client")) else None
        if token is not None and (wait := self._refused_tokens.wait_seconds(address, token)) is not None:
            self._refused(429)
            retry_after = (b"retry-after", str(math.ceil(wait)).encode())
            await send_error(send, 429, "rate_limited", TOO_MANY_REFUSED, retry_after)
            return
        try:
            caller = await self._authenticator.authenticate(token) if token is not None else None
        except AuthenticationUnavailable as exc:
            self._refused(503)
            await send_error(send, 503, "unavailable", str(exc), (b"retry-after", b"5"))
            return
        if caller is not None:
            scope[CALLER] = caller
            await self._app(scope, receive, send)
            return
        if token is not None:
            self._refused_tokens.note(address, token)
        self._refused(401)
        challenge = 'Bearer realm="luma-mcp"' + (', error="invalid_token"' if authorization else "")
        await send_error(
            send,
            401,
            "unauthorized",
            self._advice,
            (b"www-authenticate", challenge.encode()),
        )
