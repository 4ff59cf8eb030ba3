"""Middleware that answers 429 to callers who keep calling above their team's limit of calls.

The first refusals of a caller are results of the tool call; RateLimits decides when HTTP refuses instead.
"""

import math
from collections.abc import Callable
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

from app.ports.auth import Caller
from app.services.limits.rate_limits import RateLimits
from app.web.asgi import send_error
from app.web.middleware.bearer_auth import CALLER

TOO_MANY_CALLS = (
    "You go on calling over the limit of calls that an administrator of your team has set. Nothing was done. Wait "
    "{seconds} s before the next call."
)


class RateLimitMiddleware:
    """Answers 429 before the body of a request is read. Must be inside BearerAuthMiddleware."""

    def __init__(self, app: ASGIApp, limits: RateLimits, on_refusal: Callable[[int], None]) -> None:
        """Wrap `app`. `on_refusal` receives the status of each refusal."""
        self._app = app
        self._limits = limits
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
        principal = cast("Caller", scope[CALLER]).principal
        wait = self._limits.refuse_flood(principal) if principal.limits else None
        if wait is None:
            await self._app(scope, receive, send)
            return
        self._on_refusal(429)
        seconds = math.ceil(wait)
        retry_after = (b"retry-after", str(seconds).encode())
        await send_error(send, 429, "rate_limited", TOO_MANY_CALLS.format(seconds=seconds), retry_after)
