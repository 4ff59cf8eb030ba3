"""The endpoints of /admin/v1: checks of permission and rate, and error responses."""

import json
import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.ports.auth import Caller
from app.ports.directory import AdministrationRefused, NotThere
from app.ports.repositories import DatabaseUnavailable
from app.ports.sealing import OtherSecretKey
from app.services.limits.admin_limits import AdminLimits
from app.services.log_throttle import ThrottledExceptionLog
from app.services.teams.administration import (
    KeyEnded,
    NoAdministrator,
    NotPermitted,
    TeamAdministration,
    require_admin,
)
from app.services.teams.budget_administration import BudgetAdministration
from app.services.teams.invitations import InvitationAdministration
from app.services.teams.limit_administration import LimitAdministration
from app.web.admin.handlers import BudgetHandlers, KeyHandlers, LimitHandlers, TeamHandlers
from app.web.admin.invitation_handlers import InvitationHandlers
from app.web.admin.operations import ADMIN_PATH, Operation
from app.web.admin.problems import RequestRefused, problem_response
from app.web.admin.request_input import read_input
from app.web.middleware.bearer_auth import CALLER
from app.web.middleware.request_id import REQUEST_ID

CHALLENGE = 'Bearer realm="luma-mcp", error="{error}"'
NO_DATABASE = (
    "This service's database does not answer. A change that you asked for may have been made: look before you repeat "
    "it."
)
NO_SECRETS = (
    "This service's secret key cannot decrypt its secrets. Nothing was changed. Its operator has to set the former "
    "LUMA_MCP_SECRET_KEY again."
)
UNEXPECTED = "This service has a fault. A change that you asked for may have been made: look before you repeat it."

log = logging.getLogger(__name__)


class AdminEndpoint:
    """Serves the operations of /admin/v1 with the services of administration."""

    def __init__(  # noqa: PLR0913, PLR0917 - the services of administration
        self,
        teams: TeamAdministration,
        invitations: InvitationAdministration,
        budgets: BudgetAdministration,
        rate_limits: LimitAdministration,
        limits: AdminLimits,
        on_answer: Callable[[str, int], None],
    ) -> None:
        """Carry out operations with the first four arguments. `limits` bounds the administrative requests themselves.

        `on_answer` receives the name and the status of each operation.
        """
        self._teams = teams
        all_handlers = (
            TeamHandlers(teams),
            InvitationHandlers(invitations),
            KeyHandlers(teams),
            BudgetHandlers(budgets, teams),
            LimitHandlers(rate_limits, teams),
        )
        self._handlers_by_class: dict[str, Any] = {type(handlers).__name__: handlers for handlers in all_handlers}
        self._limits = limits
        self._on_answer = on_answer
        self._faults = ThrottledExceptionLog(
            log, "An administrative request got 500 because of a fault of this service; a change may have been made"
        )

    def routes(self, operations: Sequence[Operation]) -> list[Route]:
        """Return a route for each path."""
        by_path: dict[str, dict[str, Operation]] = defaultdict(dict)
        for operation in operations:
            by_path[operation.path][operation.method] = operation
        return [
            Route(f"{ADMIN_PATH}{path}", self._endpoint(by_method), methods=list(by_method))
            for path, by_method in by_path.items()
        ]

    def _endpoint(self, by_method: dict[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            operation = by_method["GET" if request.method == "HEAD" else request.method]
            response = await self._response(operation, request)
            self._record(operation, request, response.status_code)
            return response

        return endpoint

    async def _response(self, operation: Operation, request: Request) -> Response:
        """Return the response to a request. An exception becomes a problem."""
        try:
            return await self._execute(operation, request)
        except RequestRefused as exc:
            return problem_response(exc)
        except AdministrationRefused as exc:
            return problem_response(refusal(exc))
        except DatabaseUnavailable:
            retry = {"retry-after": "5"}
            return problem_response(RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, NO_DATABASE, retry))
        except OtherSecretKey:
            return problem_response(RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, NO_SECRETS))
        except Exception as exc:  # noqa: BLE001 - its message, which may quote the request, must not be sent or logged
            self._faults.note(exc)
            return problem_response(RequestRefused(HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED))

    async def _execute(self, operation: Operation, request: Request) -> Response:
        """Carry out an operation, and return its document as the response. Raises what `_response` catches."""
        principal = cast("Caller", request.scope[CALLER]).principal
        team_id = require_admin(principal)
        self._check_rate(operation, team_id)
        operation_input = await read_input(request, operation)
        async with self._limits.places.place(team_id):
            admin = await self._teams.admin(principal, request.scope[REQUEST_ID])
            class_name, _, _ = operation.handler.__qualname__.partition(".")
            handlers = self._handlers_by_class[class_name]
            document = await operation.handler(handlers, admin, operation_input)
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return Response(
            body, operation.status, _next_page_header(request, operation_input.query, document), "application/json"
        )

    def _check_rate(self, operation: Operation, team_id: str) -> None:
        """Count a request of the team. Raises RequestRefused, with 429, if the team is over its rate."""
        rate = self._limits.changes if operation.is_change else self._limits.reads
        if wait_seconds := rate.take(team_id):
            seconds = math.ceil(wait_seconds)
            detail = f"Your team sends too many administrative requests. Try again in {seconds} s."
            raise RequestRefused(HTTPStatus.TOO_MANY_REQUESTS, detail, {"retry-after": str(seconds)})

    def _record(self, operation: Operation, request: Request, status: int) -> None:
        """Count and log an operation. Only changes that were made are logged at INFO, because their rate is limited."""
        self._on_answer(operation.name, status)
        principal = cast("Caller", request.scope[CALLER]).principal
        is_change_made = operation.is_change and status < HTTPStatus.BAD_REQUEST
        log.log(
            logging.INFO if is_change_made else logging.DEBUG,
            "Administration over HTTP: %s by key %s of team %s in request %s, status %d",
            operation.name,
            principal.key,
            principal.team,
            request.scope[REQUEST_ID],
            status,
        )


def refusal(error: AdministrationRefused) -> RequestRefused:
    """Return the HTTP refusal for an exception of the administration services."""
    match error:
        case NoAdministrator():
            challenge = f'{CHALLENGE.format(error="insufficient_scope")}, scope="admin"'
            return RequestRefused(HTTPStatus.FORBIDDEN, str(error), {"www-authenticate": challenge})
        case KeyEnded():
            challenge = CHALLENGE.format(error="invalid_token")
            return RequestRefused(HTTPStatus.UNAUTHORIZED, str(error), {"www-authenticate": challenge})
        case NotPermitted():
            return RequestRefused(HTTPStatus.FORBIDDEN, str(error))
        case NotThere():
            return RequestRefused(HTTPStatus.NOT_FOUND, str(error))
    return RequestRefused(HTTPStatus.CONFLICT, str(error))


def _next_page_header(request: Request, query: Any, document: Any) -> dict[str, str]:
    """Return a Link header to the next page if `document` is a full page, else no header."""
    if not isinstance(document, list) or len(document) < getattr(query, "limit", math.inf):
        return {}
    following = urlencode({**request.query_params, "after": document[-1]["id"]})
    return {"link": f'<?{following}>; rel="next"'}
