"""Logs, counts and checks the requests of LOGGED_METHODS, as ToolCallHandler does with tool calls."""

import time
from typing import Final

from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST
from pydantic import ValidationError

from app.domain.access import Principal, Scope
from app.domain.backend import BackendDescription
from app.domain.errors import ErrorCode, Forbidden, InternalError, LumaError, RateLimited
from app.domain.rate_limit import LimitKind
from app.mcp_server.tools.call_handler import CallObserver, CallRecord, Context, RequestContext, era_of
from app.ports.auth import Caller
from app.services.limits.rate_limits import RateLimits

LOGGED_METHODS: Final = frozenset((
    "resources/read", "completion/complete", "subscriptions/listen", "tasks/get", "tasks/update", "tasks/cancel",
))  # fmt: skip


def scope_of(method: str) -> Scope:
    """Return the scope that a request of LOGGED_METHODS needs.

    tasks/cancel needs `generate`, because everybody who may read the task then sees it as cancelled. The other methods
    need `read`.
    """
    return Scope.GENERATE if method == "tasks/cancel" else Scope.READ


class RequestLog:
    """A middleware that records each request of LOGGED_METHODS, and checks its scope and its rate limits.

    Its log lines name the method in the field for the tool.
    """

    def __init__(
        self, context: RequestContext, call_log: CallObserver, backend: BackendDescription, limits: RateLimits
    ) -> None:
        """Record requests in `call_log`, and count them in `limits`.

        `context` provides the caller of each request. Errors name `backend`.
        """
        self._limits = limits
        self._context = context
        self._call_log = call_log
        self._backend = backend

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Pass the request on and record its outcome, which is "cancelled" if its client disconnected."""
        if ctx.method not in LOGGED_METHODS or ctx.request_id is None:
            return await call_next(ctx)
        caller = self._context.caller(ctx)
        record = CallRecord(
            tool=ctx.method,
            tenant=caller.principal.subject,
            era=era_of(ctx),
            client=self._context.client(ctx),
            request_id=self._context.request_id(ctx),
        )
        started = time.perf_counter()
        self._call_log.call_started()
        try:
            await self._check_limits(caller.principal)
            self._check_scope(ctx.method, caller)
            result = await call_next(ctx)
            record.outcome = "ok"
        except Exception as exc:
            record.outcome = _outcome(exc)
            raise
        finally:
            record.seconds = time.perf_counter() - started
            self._call_log.call_ended(record)
        return result

    async def _check_limits(self, principal: Principal) -> None:
        try:
            await self._limits.check(principal, LimitKind.CALLS)
        except RateLimited as exc:
            data = {"code": exc.code.value, "retry_after_seconds": exc.retry_after_seconds}
            raise MCPError(INTERNAL_ERROR, str(exc), data) from exc

    def _check_scope(self, method: str, caller: Caller) -> None:
        if scope_of(method) not in caller.principal.scopes:
            forbidden = self._backend.error(Forbidden)
            raise MCPError(INVALID_REQUEST, str(forbidden)) from forbidden


def _outcome(exc: Exception) -> str:
    """Return the error code of a failed request: that of its LumaError, else invalid_request or internal_error."""
    if isinstance(exc.__cause__, LumaError):
        return exc.__cause__.code.value
    is_client_error = isinstance(exc, ValidationError) or (
        isinstance(exc, MCPError) and exc.error.code != INTERNAL_ERROR
    )
    return ErrorCode.INVALID_REQUEST.value if is_client_error else InternalError.code.value
