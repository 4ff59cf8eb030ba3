"""Middleware that authenticates the bearer token of each request, and puts the Caller into the request's scope."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.auth.bearer_token import bearer_token
from app.ports.auth import Authenticator
from app.web.asgi import header, send_error

CALLER = "luma_mcp.caller"
"""Key of the Caller in a request's scope."""


HOW_TO_AUTHENTICATE = (
    "Send your own {backend} API token with each request: `Authorization: Bearer <token>`. Tokens are made at "
    "{account_url}; there is no sign-in here."
)


class BearerAuthMiddleware:
    """Answers 401 to requests without a valid bearer token."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, advice: str, refused: Callable[[int], None]) -> None:
        """Wrap `app`. `advice` is the message of the 401. `refused` receives the status of each refusal."""
        self._app = app
        self._advice = advice
        self._authenticator = authenticator
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its Caller, or answer 401."""
        authorization = header(scope, b"authorization")
        token = bearer_token(authorization)
        caller = await self._authenticator.authenticate(token) if token is not None else None
        if caller is not None:
            scope[CALLER] = caller
            await self._app(scope, receive, send)
            return
        self._refused(401)
        challenge = 'Bearer realm="luma-mcp"' + (', error="invalid_token"' if authorization else "")
        await send_error(
            send,
            401,
            "unauthorized",
            self._advice,
            (b"www-authenticate", challenge.encode()),
        )
