"""Logs and counts the requests about tasks that are not tool calls, in the same form as tool calls."""

import time
from typing import Final

from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from pydantic import ValidationError

from app.domain.errors import ErrorCode, InternalError, LumaError
from app.mcp_server.tools.call_handler import CallObserver, CallRecord, Context, RequestContext, era_of

LOGGED_METHODS: Final = frozenset((
    "resources/read", "completion/complete", "subscriptions/listen", "tasks/get", "tasks/update", "tasks/cancel",
))  # fmt: skip


class RequestLog:
    """A middleware that records each request of LOGGED_METHODS, with the method in place of the tool."""

    def __init__(self, caller: RequestContext, call_log: CallObserver) -> None:
        """Record requests in `call_log`. `caller` provides the caller of each."""
        self._caller = caller
        self._call_log = call_log

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Pass the request on and record its outcome; "cancelled" if its client disconnected."""
        if ctx.method not in LOGGED_METHODS or ctx.request_id is None:
            return await call_next(ctx)
        record = CallRecord(
            tool=ctx.method,
            tenant=self._caller.principal(ctx).tenant,
            era=era_of(ctx),
            client=self._caller.client(ctx),
            request_id=self._caller.request_id(ctx),
        )
        started = time.perf_counter()
        self._call_log.began()
        try:
            result = await call_next(ctx)
            record.outcome = "ok"
        except Exception as exc:
            record.outcome = _outcome(exc)
            raise
        finally:
            record.seconds = time.perf_counter() - started
            self._call_log.called(record)
        return result


def _outcome(exc: Exception) -> str:
    """Return the error code of a request that failed: of the LumaError behind it, else by whose side it is on."""
    if isinstance(exc.__cause__, LumaError):
        return exc.__cause__.code.value
    is_callers = isinstance(exc, ValidationError) or (isinstance(exc, MCPError) and exc.error.code != INTERNAL_ERROR)
    return ErrorCode.INVALID_REQUEST.value if is_callers else InternalError.code.value
