"""Middleware that authenticates the bearer token of each request, and puts the Caller into the request's scope."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.auth.bearer_token import bearer_token, is_oversized
from app.ports.auth import AccessRefused, AuthenticationUnavailable, Authenticator, TokenFault
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


class BearerAuthMiddleware:
    """Answers 401 to requests without a valid bearer token, and 403 to holders who may not use this service."""

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        advice: str,
        refused: Callable[[int], None],
        token_refused: Callable[[TokenFault], None],
    ) -> None:
        """Wrap `app`. `advice` is the message of the 401. `refused` receives the status of each refusal.

        `token_refused` is told of tokens that are too long for `authenticator` to see.
        """
        self._app = app
        self._advice = advice
        self._authenticator = authenticator
        self._refused = refused
        self._token_refused = token_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its Caller, or answer 401, 403 or 503."""
        authorization = header(scope, b"authorization")
        token = bearer_token(authorization)
        try:
            caller = await self._authenticator.authenticate(token) if token is not None else None
        except AuthenticationUnavailable as exc:
            await self._refuse(send, 503, "unavailable", str(exc), (b"retry-after", b"5"))
            return
        except AccessRefused as exc:
            await self._refuse(send, 403, "forbidden", str(exc))
            return
        if caller is not None:
            scope[CALLER] = caller
            await self._app(scope, receive, send)
            return
        if is_oversized(authorization):
            self._token_refused(TokenFault.OVERSIZED)
        challenge = 'Bearer realm="luma-mcp"' + (', error="invalid_token"' if authorization else "")
        await self._refuse(send, 401, "unauthorized", self._advice, (b"www-authenticate", challenge.encode()))

    async def _refuse(self, send: Send, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        self._refused(status)
        await send_error(send, status, code, message, *headers)
