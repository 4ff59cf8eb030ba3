"""Builds the HTTP application: routes, middleware around the MCP endpoint, and the lifespan of all parts."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcp.server.lowlevel import Server
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.sandbox.media import media_routes
from app.composition.application import Assembly
from app.composition.backend import SANDBOX_MEDIA_PATH
from app.composition.description import VERSION
from app.composition.mcp_server import build_mcp_server
from app.domain.oauth import MCP_PATH
from app.observability.tracing import flush_spans
from app.services.limits.memory_budget import NOBODY
from app.services.tasks.store_probe import SharedProbe, probe
from app.settings import Settings
from app.web.accepted_tokens import accepted_tokens
from app.web.auth.challenges import Challenges
from app.web.auth.protected_resource import metadata_routes, protected_resource
from app.web.auth.scope_guard import ScopeGuard
from app.web.callbacks import callback_route
from app.web.connection.limits import CONNECTION_LIMITS, ConnectionLimits
from app.web.mcp_endpoint import McpEndpoint, wants_progress
from app.web.metrics_port import metrics_app
from app.web.middleware.bearer_auth import BearerAuthMiddleware
from app.web.middleware.fair_scheduling import (
    BEARER,
    PROBES,
    FairScheduler,
    FairSchedulingMiddleware,
    RequestQueue,
    client_key_of,
)
from app.web.middleware.paced_refusals import PacedRefusalsMiddleware
from app.web.middleware.page_memory import PageMemoryMiddleware
from app.web.middleware.rate_limit import RateLimitMiddleware
from app.web.middleware.raw_json import RawJsonMiddleware
from app.web.middleware.request_id import RequestIdMiddleware
from app.web.middleware.request_memory import RequestMemoryMiddleware
from app.web.middleware.trusted_host import AllowList, PageTrustedHostMiddleware, TrustedHostMiddleware
from app.web.pages.landing import page
from app.web.readiness import Readiness
from app.web.refusal_pace import RefusalPace
from app.web.request_context import HttpRequestContext
from app.web.routes import NO_SIGN_IN, error_handler, metrics_route, page_route, probe_routes
from app.web.server_card import card_routes, server_card
from app.web.tool_filter import READ_ONLY_KEY, READ_ONLY_PATHS

if TYPE_CHECKING:
    from app.web.admin.app import AdminApp

PROBE_EVENT_SECONDS = 0.5
"""Longest wait of /readyz for the test event that it publishes. Kubernetes gives a probe one second by default."""

MCP_PATHS = (MCP_PATH, f"{MCP_PATH}/", *READ_ONLY_PATHS)


class RootApp:
    """Dispatches requests to the application of their port, the MCP endpoint, administration, or the other routes.

    A reverse proxy may serve this service under a path prefix. Requests are accepted with and without the prefix,
    because some proxies strip it.
    """

    def __init__(
        self,
        mcp: ASGIApp,
        pages: ASGIApp,
        prefix: str = "",
        admin: "AdminApp | None" = None,
        by_port: Mapping[int | None, ASGIApp] = MappingProxyType({}),
    ) -> None:
        """Dispatch to `mcp`, `admin` and `pages`, which serves everything else.

        `prefix` is the path of the public URL, such as /luma, or empty. `by_port` maps a separate port, such as that of
        metrics, to the application that answers all its requests.
        """
        self._by_port = by_port
        self._mcp = mcp
        self._pages = pages
        self._prefix = prefix
        self._admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass a lifespan to `pages`."""
        is_request = scope["type"] == "http"
        if is_request and self._by_port and (app := self._by_port.get(port_of(scope))) is not None:
            await app(scope, receive, send)
            return
        if is_request and self._prefix and scope["path"].startswith(self._prefix):
            scope = {**scope, "path": _strip_prefix(scope["path"], self._prefix)}
        if is_request and self._admin is not None and self._admin.is_admin_request(scope):
            await self._admin.app(scope, receive, send)
        elif is_request and scope["path"] in MCP_PATHS:
            if scope["path"] in READ_ONLY_PATHS:
                scope[READ_ONLY_KEY] = True
            await self._mcp(scope, receive, send)
        else:
            await self._pages(scope, receive, send)


def port_of(scope: Scope) -> int | None:
    """Return the TCP port at which a request arrived, or None for another transport."""
    server = scope.get("server")
    return None if server is None else server[1]


def _strip_prefix(path: str, prefix: str) -> str:
    """Return `path` without `prefix`, or unchanged if the prefix ends within a segment, as /luma does in /lumas."""
    remainder = path.removeprefix(prefix)
    return remainder if remainder.startswith("/") else path if remainder else "/"


def create_app(
    settings: Settings,
    assembly: Assembly,
    *,
    extend_server: Callable[[Server[Any]], None] = lambda _server: None,
    needs_stream: Callable[[bytes], bool] = wants_progress,
    pace: RefusalPace | None = None,
) -> ASGIApp:
    """Return the application. Its lifespan opens and closes `assembly`.

    The conformance tests pass `extend_server`, which adds handlers to the MCP server, and `needs_stream`, which
    returns whether the request with a given body is answered with a stream. Tests pass `pace`, which holds back
    refusals.
    """
    pace = pace or RefusalPace()
    mcp_server = build_mcp_server(settings, assembly, HttpRequestContext(pace))
    mcp_server.server.middleware += [mcp_server.call_handler.middleware, mcp_server.request_log]
    extend_server(mcp_server.server)
    scheduler = FairScheduler(_make_is_accepted(assembly))
    guard = _scope_guard(settings, assembly)
    endpoint = McpEndpoint(mcp_server.server, scheduler, assembly.metrics.refused, needs_stream, guard)
    readiness = Readiness()

    def on_drain() -> None:
        mcp_server.subscriptions.close()
        assembly.waiter.close()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        # sse-starlette would end streams at once on shutdown. They finish like other calls, within uvicorn's timeout.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
        async with assembly.running(), endpoint.running():
            with readiness.serving(on_drain):
                yield {CONNECTION_LIMITS: _connection_limits(settings, assembly)}
        await asyncio.to_thread(flush_spans)

    pages = Starlette(
        routes=_routes(settings, assembly, readiness),
        exception_handlers=dict.fromkeys((404, 405), error_handler(_oauth_not_found_message(settings, assembly))),
        lifespan=lifespan,
    )
    pages.router.redirect_slashes = False  # the Location of a redirect would repeat the request's Host header
    queue = RequestQueue(assembly.request_memory, _make_owner_of(assembly), assembly.metrics.refused)
    with_scheduling = partial(FairSchedulingMiddleware, scheduler=scheduler, queue=queue)
    return _with_middleware(settings, assembly, endpoint, pages, with_scheduling, pace)


def _challenges(settings: Settings, assembly: Assembly) -> Challenges:
    methods = settings.auth if settings.sign_in == "off" else ("sign_in", *settings.auth)
    return Challenges(protected_resource(settings), methods, assembly.backend.description)


def _scope_guard(settings: Settings, assembly: Assembly) -> ScopeGuard | None:
    """Return the scope guard if clients can get tokens with more scopes from an issuer, else None."""
    if protected_resource(settings) is None:
        return None
    return ScopeGuard(_challenges(settings, assembly), assembly.tools, assembly.metrics.refused)


def _oauth_not_found_message(settings: Settings, assembly: Assembly) -> str:
    """Return the 404 message for OAuth paths that are not served. The message tells clients how to authenticate."""
    if assembly.sign_in is not None:
        return f"Sign-in has no such URL. {settings.public_url}/.well-known/oauth-authorization-server lists its URLs."
    if (resource := protected_resource(settings)) is not None:
        return f"This service issues no tokens. {resource.metadata_url} names the server that does."
    return assembly.backend.description.say(NO_SIGN_IN)


def _with_middleware(  # noqa: PLR0913, PLR0917 - the applications, and what is around all of them
    settings: Settings,
    assembly: Assembly,
    endpoint: McpEndpoint,
    pages: ASGIApp,
    with_scheduling: Callable[[ASGIApp], ASGIApp],
    pace: RefusalPace,
) -> ASGIApp:
    """Wrap all applications in middleware.

    Fair scheduling is outside every middleware that refuses requests, so that refusals are scheduled too.
    """
    host_checked_pages = PageTrustedHostMiddleware(pages, hosts=settings.hosts(), on_refusal=assembly.metrics.refused)
    guarded_pages = PageMemoryMiddleware(PacedRefusalsMiddleware(host_checked_pages, pace))
    prefix = urlsplit(settings.public_url).path if settings.public_url is not None else ""
    guarded_mcp = _endpoint_with_middleware(endpoint, settings, assembly)
    by_port: dict[int | None, ASGIApp] = {}
    if isinstance(settings.metrics, int):
        by_port[settings.metrics] = PageMemoryMiddleware(metrics_app(settings, assembly.metrics))
    if assembly.administration is None:
        return with_scheduling(RootApp(guarded_mcp, guarded_pages, prefix, by_port=by_port))
    from app.web.admin.app import admin_app  # noqa: PLC0415 - saves memory if administration is off
    from app.web.admin.problems import ProblemDetailsMiddleware  # noqa: PLC0415

    admin = admin_app(settings, assembly, assembly.administration, prefix)
    root = RootApp(guarded_mcp, guarded_pages, prefix, admin, by_port)
    return ProblemDetailsMiddleware(with_scheduling(root), admin.is_admin_request)


def _make_is_accepted(assembly: Assembly) -> Callable[[str], bool]:
    """Return a predicate of client keys (`fair_scheduling`).

    The predicate is true for probes, and for tokens that the backend has accepted lately.
    """
    owner_of = _make_owner_of(assembly)
    return lambda client_key: client_key in PROBES or assembly.token_status.is_accepted(owner_of(client_key))


def _make_owner_of(assembly: Assembly) -> Callable[[str], str]:
    """Return a function from a client key to its tenant; NOBODY for a key without a token."""

    def owner_of(client_key: str) -> str:
        if not client_key.startswith(BEARER):
            return NOBODY
        return assembly.authenticator.hash_token(client_key.removeprefix(BEARER))

    return owner_of


def _connection_limits(settings: Settings, assembly: Assembly) -> ConnectionLimits:
    return ConnectionLimits(
        keep_alive=settings.keep_alive_seconds,
        head=settings.head_seconds,
        body=settings.body_seconds,
        write=settings.write_seconds,
        connections=settings.connections,
        on_refusal=assembly.metrics.refused,
        memory=assembly.request_memory,
        is_accepted=partial(_has_accepted_token, _make_is_accepted(assembly)),
    )


def _has_accepted_token(is_accepted: Callable[[str], bool], scope: Scope) -> bool:
    client_key = client_key_of(scope)
    return client_key.startswith(BEARER) and is_accepted(client_key)


def _endpoint_with_middleware(endpoint: McpEndpoint, settings: Settings, assembly: Assembly) -> ASGIApp:
    """Wrap the endpoint in middleware.

    Outermost first: request id, trusted host, CORS, bearer token, rate limit, memory, raw JSON. CORS is outside bearer
    authentication, because preflight requests carry no token.
    """
    counted = RequestMemoryMiddleware(RawJsonMiddleware(endpoint), assembly.request_memory, assembly.metrics.refused)
    limited = RateLimitMiddleware(counted, assembly.rate_limits, assembly.metrics.refused)
    authenticated = BearerAuthMiddleware(
        limited,
        assembly.authenticator,
        _challenges(settings, assembly),
        assembly.metrics,
        assembly.refused_tokens,
    )
    cors = CORSMiddleware(
        authenticated,
        allow_origin_regex=_origins_regex(settings.origins()),
        allow_methods=["POST", "GET", "DELETE"],
        allow_headers=["*"],
        expose_headers=["X-Request-ID", "WWW-Authenticate"],
        max_age=600,
    )
    return RequestIdMiddleware(
        TrustedHostMiddleware(
            authenticated,
            cors,
            hosts=AllowList(settings.hosts()),
            origins=AllowList(settings.origins()),
            on_refusal=assembly.metrics.refused,
        )
    )


def _origins_regex(origins: Sequence[str]) -> str:
    """Return a regular expression for the allowed origins. A final `:*` matches any port or none."""
    if "*" in origins:
        return ".*"
    return "|".join(re.escape(origin).replace(r":\*", r"(:\d+)?") for origin in origins)


def _routes(settings: Settings, assembly: Assembly, readiness: Readiness) -> list[BaseRoute]:
    shared = assembly.shared
    try_store = partial(
        probe, shared.store, shared.coordination, shared.keys, received_within_seconds=PROBE_EVENT_SECONDS
    )
    backend = assembly.backend.description
    tokens = accepted_tokens(settings.auth, backend)
    store_name = "redis" if settings.redis_url is not None else "memory"
    routes: list[BaseRoute] = [
        *probe_routes(
            readiness,
            SharedProbe(try_store, time.monotonic),
            store_name,
            assembly.persistence.status,
        ),
        page_route(
            lambda url, is_url_uncertain: page(
                url,
                assembly.tools,
                backend.name,
                tokens,
                is_sandbox=assembly.sandbox is not None,
                is_url_uncertain=is_url_uncertain,
                identity_provider_name=assembly.sign_in.login.upstream.name if assembly.sign_in is not None else None,
            ),
            settings.public_url,
        ),
    ]
    if settings.metrics == "on":
        routes.append(metrics_route(assembly.metrics))
    if assembly.callbacks is not None:
        routes.append(
            callback_route(assembly.callbacks, assembly.backend.parse_callback, assembly.metrics.count_callback)
        )
    if settings.public_url is not None:
        clients_can_sign_in = protected_resource(settings) is not None
        card = server_card(settings.public_url, VERSION, backend, tokens, clients_can_sign_in=clients_can_sign_in)
        routes += card_routes(card)
    if (resource := protected_resource(settings)) is not None:
        routes += [*metadata_routes(resource), *metadata_routes(resource.read_only_resource())]
    if assembly.sign_in is not None:
        from app.web.auth.routes import sign_in_routes  # noqa: PLC0415 - saves memory if sign-in is off

        routes += sign_in_routes(assembly.sign_in)
    if assembly.sandbox is not None:
        routes += media_routes(SANDBOX_MEDIA_PATH, assembly.sandbox.media_is_gone)
    return routes
