"""Handles tools/call: validates arguments, calls the tool's handler, and turns errors into tool errors."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams
from mcp_types.methods import validate_client_request
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from app.domain.access import Principal
from app.domain.backend import BackendDescription
from app.domain.errors import Forbidden, InternalError, LeftOut, LumaError, RateLimited, Unauthorized
from app.domain.rate_limit import LimitKind
from app.domain.task import NO_STATS, LookupStats
from app.mcp_server.tools.definition import FIRST_ROUND, BoundTool, Call, InputNeeded, Progress, Round
from app.mcp_server.tools.json_bytes import Json
from app.mcp_server.tools.results import error_view
from app.mcp_server.tools.text import error_text
from app.mcp_server.tools.tool_filter import ToolFilter
from app.mcp_server.tools.tool_result import ToolResult
from app.mcp_server.tools.validation import read_arguments
from app.ports.auth import Caller
from app.services.limits.rate_limits import RateLimits
from app.services.log_throttle import ThrottledExceptionLog

Context = ServerRequestContext[Any, Any]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CallRecord:
    """One tool call, for the log and the metrics. It contains no secrets.

    Attributes:
        era: the generation of the protocol, "2025" or "2026".
        outcome: "ok", an error code, "asked" if the user has to confirm, or "cancelled" if the client disconnected.
        stats: the lookup statistics.
        state_counts: the number of tasks in the result, by state.
        task_id: the task that a submission started, so that an operator can follow a purchase; else None.

    """

    tool: str
    tenant: str
    era: str
    client: str
    request_id: str
    outcome: str = "cancelled"
    seconds: float = 0.0
    stats: LookupStats = NO_STATS
    state_counts: Mapping[str, Any] = field(default_factory=dict)
    task_id: str | None = None


class CallObserver(Protocol):
    """Observes every tool call."""

    def call_started(self) -> None:
        """Record the start of a call. One `call_ended` follows."""
        ...

    def call_ended(self, record: CallRecord) -> None:
        """Record a finished call. Never raises and never blocks."""
        ...


class RequestContext(Protocol):
    """Facts about a request that depend on its transport."""

    def caller(self, ctx: Context) -> Caller:
        """Return the caller of this request."""
        ...

    def tool_filter(self, ctx: Context) -> ToolFilter:
        """Return the filter of this request: the tools that the settings of its connection leave out."""
        ...

    def client(self, ctx: Context) -> str:
        """Return the name of the client program; "" if it gave none."""
        ...

    def request_id(self, ctx: Context) -> str:
        """Return the id of this request in the log."""
        ...

    async def hold_back_refusal(self, ctx: Context) -> None:
        """Wait until the refusal of this request may be sent, so that its client comes again later."""
        ...

    def placeholder_for(self, ctx: Context, value: Json) -> Any:
        """Return `value`, or a placeholder that the transport replaces by it.

        Raises RateLimited if the caller's memory quota does not allow the value.
        """
        ...


class TaskHandleFactory(Protocol):
    """Makes task handles, which replace the results of tools that start a task (the Tasks extension)."""

    def accepts_handle(self, ctx: Context) -> bool:
        """Return whether this request's client accepts a handle in place of a result."""
        ...

    async def handle_result(self, principal: Principal, task_id: str) -> dict[str, Any]:
        """Return the handle of a task that was just started, as the wire form of the tool call's result."""
        ...


class ToolCallHandler:
    """The request handler of tools/call, and a middleware for it."""

    def __init__(  # noqa: PLR0913, PLR0917 - the dependencies of a call
        self,
        tools: Mapping[str, BoundTool],
        backend: BackendDescription,
        context: RequestContext,
        call_log: CallObserver,
        handles: TaskHandleFactory,
        result_meta: Mapping[str, Any],
        limits: RateLimits,
    ) -> None:
        """Serve `tools`, which are keyed by name. Errors name `backend`. Each call counts in `limits`.

        `result_meta` is the `_meta` of results from protocol 2026 on.
        """
        self._faults = ThrottledExceptionLog(
            log, "The handle of a task that was started could not be made; its caller gets the task_id"
        )
        self._result_meta = result_meta
        self._handles = handles
        self._limits = limits
        self._tools = tools
        self._backend = backend
        self._context = context
        self._call_log = call_log

    async def __call__(self, ctx: Context, params: CallToolRequestParams) -> dict[str, Any]:
        """Return the result in wire form. Raises MCPError -32602 for an unknown tool."""
        tool = self._tools.get(params.name)
        if tool is None:
            names = ", ".join(self._listed_names(ctx))
            raise MCPError(INVALID_PARAMS, f"There is no such tool; the tools are {names}.")
        responses = {name: _without_model(response) for name, response in (params.input_responses or {}).items()}
        return await self._handle(ctx, tool, params.arguments or {}, _round(ctx, tool, responses, params.request_state))

    def _listed_names(self, ctx: Context) -> list[str]:
        """Return the names of the tools that tools/list shows to the caller."""
        scopes, tool_filter = self._context.caller(ctx).principal.scopes, self._context.tool_filter(ctx)
        return [
            name
            for name, tool in self._tools.items()
            if tool.scope in scopes and not tool_filter.hides(name, is_billable=tool.is_billable)
        ]

    async def middleware(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Handle tool calls as a middleware, and pass every other request on.

        The call is validated against the schema of its protocol revision, as by the SDK. The SDK's second parse of the
        parameters is skipped, and so is its output validation, which would see placeholders instead of values. Only
        transports without a handshake may use this, because the SDK checks the handshake after its middleware.

        Raises MCPError -32602 for invalid parameters of tools/call.
        """
        name = (ctx.params or {}).get("name")
        is_call = ctx.method == "tools/call" and ctx.request_id is not None  # a notification has no response
        tool = self._tools.get(name) if is_call and isinstance(name, str) else None
        if tool is None or ctx.params is None:
            return await call_next(ctx)
        try:
            validate_client_request(ctx.method, ctx.protocol_version, ctx.params)
        except ValidationError:
            raise MCPError(INVALID_PARAMS, "tools/call takes `name`, a string, and `arguments`, an object.") from None
        this_round = _round(ctx, tool, ctx.params.get("inputResponses") or {}, ctx.params.get("requestState"))
        return await self._handle(ctx, tool, ctx.params.get("arguments") or {}, this_round)

    async def _handle(
        self, ctx: Context, tool: BoundTool, raw_arguments: Mapping[str, Any], this_round: Round
    ) -> dict[str, Any]:
        """Handle one call, and record it in the call log."""
        caller, started = self._context.caller(ctx), time.perf_counter()
        record = self._record(ctx, tool, caller)
        self._call_log.call_started()
        try:
            call = Call(caller, _progress(ctx), record.request_id, this_round, self._context.tool_filter(ctx))
            try:
                answer = await self._answer(tool, call, raw_arguments, record)
            except InputNeeded as exc:
                record.outcome = "asked"
                return self._question_result(exc)
            if isinstance(answer, ToolResult):
                is_refused = answer.is_refused
            else:
                is_refused = isinstance(answer, RateLimited | Unauthorized)
            if is_refused:
                await self._context.hold_back_refusal(ctx)
            try:
                result = await self._result(ctx, caller, answer)
            except RateLimited as exc:  # the result exceeds the caller's memory quota
                record.outcome = exc.code.value
                result = await self._result(ctx, caller, exc)
            return result if record.era == "2025" else {"resultType": "complete", "_meta": self._result_meta, **result}
        finally:
            record.seconds = time.perf_counter() - started
            self._call_log.call_ended(record)

    def _question_result(self, needed: InputNeeded) -> dict[str, Any]:
        """Return the result that asks the client for its user's response."""
        request = {"inputRequests": {needed.name: needed.question}, "requestState": needed.state}
        return {"resultType": "input_required", "_meta": self._result_meta, **request}

    async def _result(self, ctx: Context, caller: Caller, answer: ToolResult | LumaError) -> dict[str, Any]:
        """Return an answer in wire form, or the handle of the started task if the client accepts one.

        Raises RateLimited if the caller's memory quota does not allow the answer.
        """
        if isinstance(answer, LumaError):
            return wire_result(error_text(answer), {"error": error_view(answer)}, is_error=True)
        if answer.started is not None and self._handles.accepts_handle(ctx):
            try:
                return await self._handles.handle_result(caller.principal, answer.started)
            except Exception as exc:  # noqa: BLE001 - the video is bought, and a plain result names its task too
                self._faults.note(exc)
        placeholder_for = self._context.placeholder_for
        return wire_result(placeholder_for(ctx, answer.text), placeholder_for(ctx, answer.result), is_error=False)

    async def _answer(
        self, tool: BoundTool, call: Call, raw_arguments: Mapping[str, Any], record: CallRecord
    ) -> ToolResult | LumaError:
        """Return the tool's result, or the error of a failed call. Set the outcome in `record`. Raises InputNeeded."""
        principal = call.caller.principal
        try:
            if principal.limits:
                await self._limits.check(principal, LimitKind.CALLS)
            if tool.scope not in principal.scopes:
                raise self._backend.error(Forbidden)  # noqa: TRY301 - answered like the errors of handlers
            if call.tool_filter.hides(tool.name, is_billable=tool.is_billable):
                raise self._backend.error(LeftOut)  # noqa: TRY301 - answered like the errors of handlers
            answer = await tool.handle(call, read_arguments(tool.arguments, raw_arguments))
        except LumaError as exc:
            record.outcome = exc.code.value
            return exc
        except InputNeeded:
            raise
        except Exception:
            log.exception("A tool call failed with internal_error because of a fault of this service")
            record.outcome = InternalError.code.value
            return self._backend.error(InternalError)
        record.outcome, record.stats, record.state_counts = "ok", answer.stats, answer.state_counts
        record.task_id = answer.started
        return answer

    def _record(self, ctx: Context, tool: BoundTool, caller: Caller) -> CallRecord:
        return CallRecord(
            tool=tool.name,
            tenant=caller.principal.subject,
            era=era_of(ctx),
            client=self._context.client(ctx),
            request_id=self._context.request_id(ctx),
        )


def era_of(ctx: Context) -> str:
    """Return the generation of the request's protocol, "2025" or "2026", as in logs and metrics."""
    return "2026" if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else "2025"


def _round(ctx: Context, tool: BoundTool, responses: Any, state: Any) -> Round:
    """Return the round of a call: the first one for tools that ask nothing, which are those that do not spend.

    Multi-round-trip requests exist from the revision 2026-07-28 on.
    """
    if not tool.is_billable or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return FIRST_ROUND
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    # A client that declares no mode supports forms.
    can_ask = elicitation is not None and (elicitation.form is not None or elicitation.url is None)
    is_valid = isinstance(responses, Mapping) and isinstance(state, str)
    return Round(can_ask, responses if is_valid else {}, state if is_valid else None)


def _without_model(response: Any) -> Any:
    """Return a response as a dict, if the SDK has parsed it into a pydantic model."""
    return response.model_dump(by_alias=True) if isinstance(response, BaseModel) else response


def _progress(ctx: Context) -> Progress:
    token = (ctx.meta or {}).get("progress_token")

    async def progress(done: float, total: float, message: str) -> None:
        if token is not None:
            await ctx.session.send_progress_notification(
                token, done, total, message, related_request_id=str(ctx.request_id)
            )

    return progress


def wire_result(text: str, result: Any, *, is_error: bool) -> dict[str, Any]:
    """Return a tool result in wire form: text for the model, and structured content."""
    return {
        "content": [{"type": "text", "text": text}],
        "structuredContent": {"result": result},
        "isError": is_error,
    }
