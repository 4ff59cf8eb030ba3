"""Middleware that authenticates the bearer token of each request and puts the Principal into its scope."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.auth.passthrough import PassthroughAuthenticator, bearer_token
from app.web.asgi import header, send_error

PRINCIPAL = "luma_mcp.principal"
"""Key of the Principal in a request's scope."""


HOW_TO_AUTHENTICATE = (
    "Send your own {backend} API token with each request: `Authorization: Bearer <token>`. Tokens are made at "
    "{account_url}; there is no sign-in here."
)


class BearerAuthMiddleware:
    """Requires a bearer token, and puts its Principal into the request's scope; answers 401 without one."""

    def __init__(
        self, app: ASGIApp, authenticator: PassthroughAuthenticator, advice: str, refused: Callable[[int], None]
    ) -> None:
        """Wrap `app`. Requests without a token get `advice`. `refused` receives the status of each refusal."""
        self._app = app
        self._advice = advice
        self._authenticator = authenticator
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its Principal, or answer 401."""
        authorization = header(scope, b"authorization")
        token = bearer_token(authorization)
        if token is not None:
            scope[PRINCIPAL] = self._authenticator.principal(token)
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
