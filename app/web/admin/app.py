"""The application of /admin/v1: its routes, and the middleware around them."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from app.composition.administration import Administration
from app.composition.application import Assembly
from app.composition.description import VERSION
from app.ports.auth import Caller
from app.services.teams.administration import NoAdministrator, require_admin
from app.settings import Settings
from app.web.admin.endpoint import AdminEndpoint, refusal
from app.web.admin.openapi import openapi_document
from app.web.admin.operations import ADMIN_PATH, OPERATIONS
from app.web.admin.problems import RequestRefused, problem_response
from app.web.auth.challenges import Challenges
from app.web.middleware.bearer_auth import CALLER, BearerAuthMiddleware
from app.web.middleware.request_id import RequestIdMiddleware
from app.web.middleware.request_memory import RequestMemoryMiddleware
from app.web.middleware.trusted_host import AllowList, TrustedHostMiddleware


class AdminRequestMatcher:
    """A predicate that selects the requests for administration.

    With an admin port, these are all requests on that port; otherwise the requests below ADMIN_PATH.
    """

    def __init__(self, port: int | None, prefix: str) -> None:
        """`port` is the separate port of administration, or None.

        `prefix` is the path of the public URL, or empty.
        """
        self._port = port
        self._prefix = prefix

    def __call__(self, scope: Scope) -> bool:
        """Return whether an HTTP request is for administration."""
        if self._port is not None:
            server = scope.get("server")
            return server is not None and server[1] == self._port
        return f"{scope['path']}/".removeprefix(self._prefix).startswith(f"{ADMIN_PATH}/")


@dataclass(frozen=True, slots=True)
class AdminApp:
    """The application of /admin/v1, and the predicate that selects its requests."""

    app: ASGIApp
    is_admin_request: AdminRequestMatcher


def admin_app(settings: Settings, assembly: Assembly, administration: Administration, prefix: str) -> AdminApp:
    """Return the application of `administration`. `prefix` is the path of the public URL, or empty."""
    port = settings.admin if isinstance(settings.admin, int) else None
    app = _app(assembly, administration, prefix)
    return AdminApp(_with_checks(settings, assembly, app), AdminRequestMatcher(port, prefix))


def _app(assembly: Assembly, administration: Administration, prefix: str) -> ASGIApp:
    endpoint = AdminEndpoint(
        administration.teams,
        administration.invitations,
        administration.budgets,
        administration.rate_limits,
        administration.request_limits,
        assembly.metrics.admin_answered,
    )
    document = json.dumps(openapi_document(OPERATIONS, f"{prefix}{ADMIN_PATH}", VERSION)).encode()
    routes = [*endpoint.routes(OPERATIONS), Route(f"{ADMIN_PATH}/openapi.json", _openapi_endpoint(document))]
    app = Starlette(routes=routes, exception_handlers=dict.fromkeys((404, 405), _unknown))
    app.router.redirect_slashes = False  # the Location of a redirect would repeat the request's Host header
    return app


def _with_checks(settings: Settings, assembly: Assembly, app: ASGIApp) -> ASGIApp:
    """Wrap `app` in the same checks of host, origin and token as /mcp. CORS preflight requests are not answered."""
    on_refusal = assembly.metrics.refused
    counted = RequestMemoryMiddleware(app, assembly.request_memory, on_refusal)
    challenges = Challenges(None, ("keys",), assembly.backend.description)
    authenticated = BearerAuthMiddleware(
        counted, assembly.authenticator, challenges, assembly.metrics, assembly.refused_tokens
    )
    hosts, origins = AllowList(settings.hosts()), AllowList(settings.origins())
    return RequestIdMiddleware(
        TrustedHostMiddleware(authenticated, authenticated, hosts=hosts, origins=origins, on_refusal=on_refusal)
    )


def _openapi_endpoint(document: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def openapi(request: Request) -> Response:
        try:
            require_admin(cast("Caller", request.scope[CALLER]).principal)
        except NoAdministrator as exc:
            return problem_response(refusal(exc))
        return Response(document, media_type="application/json")

    return openapi


async def _unknown(_request: Request, error: Exception) -> Response:
    """Return the problem for an unknown path or method."""
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 404)
    headers = error.headers if isinstance(error, HTTPException) else None
    detail = f"There is no such path or method. {ADMIN_PATH}/openapi.json lists them."
    return problem_response(RequestRefused(status, detail, headers))
