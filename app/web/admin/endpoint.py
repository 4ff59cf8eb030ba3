"""Answers requests to /admin/v1: who may ask, how often, and how refusals are told."""

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
from app.services.teams.limit_administration import LimitAdministration
from app.web.admin.given import given_in
from app.web.admin.handlers import BudgetHandlers, KeyHandlers, LimitHandlers, TeamHandlers
from app.web.admin.operations import ADMIN_PATH, Operation
from app.web.admin.problems import RequestRefused, problem_response
from app.web.middleware.bearer_auth import CALLER
from app.web.middleware.request_id import REQUEST_ID

CHALLENGE = 'Bearer realm="luma-mcp", error="{error}"'
NO_DATABASE = (
    "This service's database does not answer. A change that you asked for may have been made, so look before you "
    "repeat it."
)
NO_SECRETS = "This service cannot open its secrets, which its operator has to mend. Nothing was changed."
UNEXPECTED = "This service has a fault. A change that you asked for may have been made: look before you repeat it."

log = logging.getLogger(__name__)


class AdminEndpoint:
    """The operations, bound to the services that do them."""

    def __init__(
        self,
        teams: TeamAdministration,
        budgets: BudgetAdministration,
        rate_limits: LimitAdministration,
        limits: AdminLimits,
        answered: Callable[[str, int], None],
    ) -> None:
        """Administer with the first three. `limits` are those of administration itself.

        `answered` counts an operation by its status.
        """
        self._teams = teams
        handlers = (
            TeamHandlers(teams),
            KeyHandlers(teams),
            BudgetHandlers(budgets, teams),
            LimitHandlers(rate_limits, teams),
        )
        self._handlers: dict[str, Any] = {type(one).__name__: one for one in handlers}
        self._limits = limits
        self._answered = answered
        self._faults = ThrottledExceptionLog(log, "An administrative request has met a fault, and got 500")

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
            response = await self._answer(operation, request)
            self._note(operation, request, response.status_code)
            return response

        return endpoint

    async def _answer(self, operation: Operation, request: Request) -> Response:
        try:
            return await self._done(operation, request)
        except RequestRefused as exc:
            return problem_response(exc)
        except AdministrationRefused as exc:
            return problem_response(refusal(exc))
        except DatabaseUnavailable:
            retry = {"retry-after": "5"}
            return problem_response(RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, NO_DATABASE, retry))
        except OtherSecretKey:
            return problem_response(RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, NO_SECRETS))
        except Exception as exc:  # noqa: BLE001 - its message may quote what was sent
            self._faults.note(exc)
            return problem_response(RequestRefused(HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED))

    async def _done(self, operation: Operation, request: Request) -> Response:
        """Return the answer of an operation that was done."""
        principal = cast("Caller", request.scope[CALLER]).principal
        team_id = require_admin(principal)
        self._count(operation, team_id)
        given = await given_in(request, operation)
        async with self._limits.places.place(team_id):
            admin = await self._teams.admin(principal, request.scope[REQUEST_ID])
            handlers = self._handlers[operation.handler.__qualname__.partition(".")[0]]
            document = await operation.handler(handlers, admin, given)
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return Response(body, operation.status, _next_page(request, given.query, document), "application/json")

    def _count(self, operation: Operation, team_id: str) -> None:
        """Raise RequestRefused where the team asks too often."""
        rate = self._limits.changes if operation.is_change else self._limits.reads
        if pause := rate.take(team_id):
            seconds = math.ceil(pause)
            detail = f"Your team asks too often. Try again in {seconds} s."
            raise RequestRefused(HTTPStatus.TOO_MANY_REQUESTS, detail, {"retry-after": str(seconds)})

    def _note(self, operation: Operation, request: Request, status: int) -> None:
        self._answered(operation.name, status)
        principal = cast("Caller", request.scope[CALLER]).principal
        is_told = operation.is_change and status < HTTPStatus.BAD_REQUEST  # the number of these is limited
        log.log(
            logging.INFO if is_told else logging.DEBUG,
            "Administration over HTTP: %s by key %s of team %s in request %s, status %d",
            operation.name,
            principal.key,
            principal.team,
            request.scope[REQUEST_ID],
            status,
        )


def refusal(error: AdministrationRefused) -> RequestRefused:
    """Return how a refusal of the services is told."""
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


def _next_page(request: Request, query: Any, document: Any) -> dict[str, str]:
    """Return a Link header to the page behind a full one."""
    if not isinstance(document, list) or len(document) < getattr(query, "limit", math.inf):
        return {}
    following = urlencode({**request.query_params, "after": document[-1]["id"]})
    return {"link": f'<?{following}>; rel="next"'}
