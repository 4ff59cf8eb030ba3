"""Middleware against DNS rebinding: refuses requests whose Host or Origin header is not allowed."""

import logging
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.asgi import header, send_error
from app.web.log_throttle import ThrottledLog

OPEN_PATHS = ("/livez",)
"""Paths that are served for any Host header: kubelet probes the address of a pod."""


class TrustedHostMiddleware:
    """Answers 421 to requests for other hosts, and 403 to requests of web pages of other origins."""

    def __init__(
        self,
        app: ASGIApp,
        app_for_pages: ASGIApp,
        *,
        hosts: Sequence[str],
        origins: Sequence[str],
        refused: Callable[[int], None],
    ) -> None:
        """Wrap `app`. Requests with an Origin header, which web pages send, go to `app_for_pages`.

        `refused` receives the status of each refusal.
        """
        self._app = app
        self._app_for_pages = app_for_pages
        self._hosts = AllowList(hosts)
        self._origins = AllowList(origins)
        self._refused = refused
        self._log = ThrottledLog(logging.getLogger(__name__))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it and log the setting that would allow it."""
        host, origin = header(scope, b"host") or "", header(scope, b"origin")
        if not self._hosts.has(host):
            self._log.warn(
                "hosts", "Refused the host %r: name it in LUMA_MCP_ALLOWED_HOSTS or LUMA_MCP_PUBLIC_URL", host[:200]
            )
            self._refused(421)
            await send_error(send, 421, "misdirected_request", "This service does not answer for this Host.")
        elif origin is None:
            await self._app(scope, receive, send)
        elif not self._origins.has(origin):
            self._log.warn("origins", "Refused the origin %r: name it in LUMA_MCP_ALLOWED_ORIGINS", origin[:200])
            self._refused(403)
            await send_error(send, 403, "forbidden_origin", "This service does not answer web pages of this Origin.")
        else:
            await self._app_for_pages(scope, receive, send)


class PageTrustedHostMiddleware:
    """Answers 421 to requests for other hosts, for the paths beside /mcp. OPEN_PATHS are served for any host."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], refused: Callable[[int], None]) -> None:
        """Wrap `app`. `refused` receives the status of each refusal."""
        self._app = app
        self._hosts = AllowList(hosts)
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421."""
        is_open = scope["type"] != "http" or scope["path"] in OPEN_PATHS
        if is_open or self._hosts.has(header(scope, b"host") or ""):
            await self._app(scope, receive, send)
            return
        self._refused(421)
        await send_error(send, 421, "misdirected_request", "This service does not answer for this Host.")


class AllowList:
    """An allow-list of hosts or origins. `:*` matches any port or none, `*` matches everything."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Allow `patterns`, in any case of letters."""
        self._allows_all = "*" in patterns
        self._exact = frozenset(pattern.lower() for pattern in patterns)
        self._any_port = frozenset(pattern.lower().removesuffix(":*") for pattern in patterns if pattern.endswith(":*"))

    def has(self, value: str) -> bool:
        """Return whether `value` is allowed."""
        lowered = value.lower()
        if self._allows_all or lowered in self._exact or lowered in self._any_port:
            return True
        name, _, port = lowered.rpartition(":")
        return port.isdecimal() and name in self._any_port
