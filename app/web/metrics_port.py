"""The application of the port that LUMA_MCP_METRICS names: /metrics alone, in the same server as the other ports."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from app.domain.public_url import is_ip_or_private_name
from app.observability.metrics import Metrics
from app.settings import Settings
from app.web.middleware.trusted_host import MAX_LENGTH, AllowList, TrustedHostMiddleware
from app.web.routes import metrics_route


class ScrapedHosts(AllowList):
    """Allows hosts of private networks beside a list, because Prometheus scrapes by the address of a pod or service.

    A web page cannot read the metrics by DNS rebinding: its own host is a name in the public DNS.
    """

    def allows(self, value: str) -> bool:
        """Return whether a Host header is an IP address, a name of a private network, or on the list."""
        return super().allows(value) or (len(value) <= MAX_LENGTH and is_ip_or_private_name(value))


def metrics_app(settings: Settings, metrics: Metrics) -> ASGIApp:
    """Return the application."""
    app = Starlette(routes=[metrics_route(metrics)], exception_handlers=dict.fromkeys((404, 405), _unknown))
    app.router.redirect_slashes = False  # the Location of a redirect would repeat the request's Host header
    return TrustedHostMiddleware(
        app, app, hosts=ScrapedHosts(settings.hosts()), origins=AllowList(()), on_refusal=metrics.refused
    )


async def _unknown(_request: Request, error: Exception) -> Response:
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (404, None)
    content = {"error": {"code": "not_found", "message": "This port has GET /metrics alone."}}
    return JSONResponse(content, status_code=status, headers=headers)
