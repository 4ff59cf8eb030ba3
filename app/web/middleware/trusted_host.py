"""Middleware against DNS rebinding: refuses requests whose Host or Origin header is not allowed."""

import logging
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from app.services.log_throttle import ThrottledLog
from app.web.asgi import header, send_error

ANY_HOST_PATHS = ("/livez",)
"""Paths that are served for any Host header. The kubelet probes a pod by its IP address."""


class TrustedHostMiddleware:
    """Answers 421 to a Host header that is not allowed, and 403 to an Origin header that is not allowed."""

    def __init__(
        self,
        app: ASGIApp,
        browser_app: ASGIApp,
        *,
        hosts: "AllowList",
        origins: "AllowList",
        on_refusal: Callable[[int], None],
    ) -> None:
        """Wrap `app`. Requests with an allowed Origin header, which browsers send, go to `browser_app`.

        `on_refusal` receives the status of each refusal.
        """
        self._app = app
        self._browser_app = browser_app
        self._hosts = hosts
        self._origins = origins
        self._on_refusal = on_refusal
        self._log = ThrottledLog(logging.getLogger(__name__))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it and log the setting that would allow it."""
        host, origin = header(scope, b"host") or "", header(scope, b"origin")
        if not self._hosts.allows(host):
            self._log.warn(
                "hosts",
                "Answered 421 to requests for the host %r: if it is yours, list it in LUMA_MCP_ALLOWED_HOSTS or set "
                "LUMA_MCP_PUBLIC_URL",
                host[:200],
            )
            self._on_refusal(421)
            await send_error(send, 421, "misdirected_request", "This service does not answer for this Host.")
        elif origin is None:
            await self._app(scope, receive, send)
        elif not self._origins.allows(origin):
            self._log.warn(
                "origins",
                "Answered 403 to web pages of the origin %r: if you trust it, list it in LUMA_MCP_ALLOWED_ORIGINS",
                origin[:200],
            )
            self._on_refusal(403)
            await send_error(send, 403, "forbidden_origin", "This service does not answer web pages of this Origin.")
        else:
            await self._browser_app(scope, receive, send)


class PageTrustedHostMiddleware:
    """Answers 421 to a Host header that is not allowed, for all paths other than /mcp, except ANY_HOST_PATHS."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], on_refusal: Callable[[int], None]) -> None:
        """Wrap `app`. `on_refusal` receives the status of each refusal."""
        self._app = app
        self._hosts = AllowList(hosts)
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421."""
        is_unchecked = scope["type"] != "http" or scope["path"] in ANY_HOST_PATHS
        if is_unchecked or self._hosts.allows(header(scope, b"host") or ""):
            await self._app(scope, receive, send)
            return
        self._on_refusal(421)
        await send_error(send, 421, "misdirected_request", "This service does not answer for this Host.")


MAX_LENGTH = 300
"""Maximum number of characters of a host or an origin. A DNS name has at most 253.

If every host is allowed, the cache of landing pages has a page for each host, so the length of hosts must be limited.
"""


class AllowList:
    """An allow-list of hosts or origins. A pattern `*` matches everything; a suffix `:*` matches any port or none.

    Nothing longer than MAX_LENGTH is allowed.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Allow `patterns`, case-insensitively."""
        self._allows_all = "*" in patterns
        self._exact = frozenset(pattern.lower() for pattern in patterns)
        self._with_any_port = frozenset(
            pattern.lower().removesuffix(":*") for pattern in patterns if pattern.endswith(":*")
        )

    def allows(self, value: str) -> bool:
        """Return whether `value` is allowed."""
        if len(value) > MAX_LENGTH:
            return False
        lowered = value.lower()
        if self._allows_all or lowered in self._exact or lowered in self._with_any_port:
            return True
        name, _, port = lowered.rpartition(":")
        return port.isdecimal() and name in self._with_any_port
