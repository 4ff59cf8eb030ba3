"""The routes other than /mcp: probes, metrics, the landing page, and errors for unknown paths."""

from collections.abc import Awaitable, Callable
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from app.observability.metrics import CONTENT_TYPE, Metrics
from app.observability.shared_exposition import SharedExposition
from app.ports.store import StoreRefuses, StoreUnavailable
from app.services.tasks.store_probe import ADVICE, ChannelSilent
from app.web.json_rpc import refusal
from app.web.readiness import Phase, Readiness

NO_SIGN_IN = (
    "There is no OAuth sign-in here. Send your own {backend} API token as `Authorization: Bearer <token>` with each "
    "request to /mcp."
)

NO_ENDPOINT = "There is nothing here. The MCP endpoint is POST /mcp: its URL ends in /mcp."

MAX_PAGES = 16
"""Size of the cache of rendered landing pages. There is one for each base URL under which the page was opened."""


def probe_routes(
    readiness: Readiness,
    try_store: Callable[[], Awaitable[None]],
    store_name: str,
    database_status: Callable[[], Awaitable[str]],
) -> list[Route]:
    """Return /livez, which does no I/O, and /readyz, which shows the phase and the status of store and database.

    `try_store` raises StoreUnavailable if an operation of the store fails. If the store or the database is down, the
    status is "degraded" with HTTP status 200, because the service still answers calls. Before READY and while draining,
    /readyz answers 503.
    """

    async def livez(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        if readiness.phase is not Phase.READY:
            return JSONResponse({"status": readiness.phase.value}, status_code=503)
        store, database = {"store_status": "up"}, await database_status()
        try:
            await try_store()
        except StoreUnavailable as exc:
            store = _store_report(exc)
        status = "ready" if store["store_status"] == database == "up" else "degraded"
        return JSONResponse({"status": status, "store": store_name, **store, "database_status": database})

    return [Route("/livez", livez), Route("/readyz", readyz)]


def _store_report(exc: StoreUnavailable) -> dict[str, str]:
    """Return the status of a store that cannot be used, with a word for the fault if it answers with an error."""
    match exc:
        case StoreRefuses():
            return {"store_status": "refuses", "store_fault": str(exc) if str(exc) in ADVICE else "other"}
        case ChannelSilent():
            return {"store_status": "channel_silent"}
    return {"store_status": "down"}


def metrics_route(metrics: Metrics) -> Route:
    """Return /metrics, in Prometheus's text format."""
    exposition = SharedExposition(metrics.exposition)

    async def respond(_request: Request) -> Response:
        return Response(await exposition(), headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", respond)


def page_route(page: Callable[[str, bool], str], public_url: str | None) -> Route:
    """Return /, the landing page. It shows `public_url`, or without one the base URL under which it was opened.

    `page` renders the page from that URL, and a flag that the URL may be wrong.
    """
    rendered = lru_cache(MAX_PAGES)(lambda url, is_url_uncertain: page(url, is_url_uncertain).encode())

    async def home(request: Request) -> Response:
        url = public_url or f"{request.url.scheme}://{request.url.netloc}"
        is_url_uncertain = public_url is None and _forwarded_url_differs(request)
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
        headers = {"content-security-policy": policy, "x-content-type-options": "nosniff", "cache-control": "no-cache"}
        return HTMLResponse(rendered(url, is_url_uncertain), headers=headers)

    return Route("/", home)


def _forwarded_url_differs(request: Request) -> bool:
    """Return whether X-Forwarded headers name another scheme or host than the request that arrived here."""
    forwarded = (request.headers.get("x-forwarded-proto"), request.headers.get("x-forwarded-host"))
    received = (request.url.scheme, request.url.netloc)
    pairs = zip(forwarded, received, strict=True)
    return any(header is not None and header.lower() != value for header, value in pairs)


def error_handler(oauth_message: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return the exception handler for 404 and 405. Requests for OAuth paths get the message `oauth_message`."""

    async def handle(request: Request, error: Exception) -> Response:
        return _error_response(request, error, oauth_message)

    return handle


def _error_response(request: Request, error: Exception, oauth_message: str) -> Response:
    """Return a JSON error; for POST outside OAuth paths, a JSON-RPC error.

    An MCP client that is configured with a wrong URL POSTs to it, and shows its user only JSON-RPC errors.
    """
    status = error.status_code if isinstance(error, HTTPException) else 404
    path = request.url.path.removeprefix("/mcp")
    is_oauth_path = path.startswith("/.well-known/") or path in ("/register", "/authorize", "/token")
    message = oauth_message if is_oauth_path else NO_ENDPOINT
    headers = error.headers if isinstance(error, HTTPException) else None
    code = "not_found" if status == 404 else "method_not_allowed"  # noqa: PLR2004 - the status itself
    if request.method == "POST" and not is_oauth_path:
        return Response(refusal(code, message), status, {**(headers or {}), "content-type": "application/json"})
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)
