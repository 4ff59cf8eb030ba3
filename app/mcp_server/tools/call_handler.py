"""The one door for tool calls: in come names and arguments, out go answers, and our errors become tool errors."""

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
from pydantic import ValidationError

from app.domain.errors import InternalError, LumaError, RateLimited
from app.domain.principal import Principal
from app.domain.task import NO_STATS, LookupStats
from app.mcp_server.tools.arguments import read_arguments
from app.mcp_server.tools.definition import Call, LumaTool, Services
from app.mcp_server.tools.json_bytes import Json
from app.mcp_server.tools.results import error_view
from app.mcp_server.tools.text import error_text
from app.mcp_server.tools.tool_result import ToolResult
from app.services.log_throttle import ThrottledExceptionLog

Context = ServerRequestContext[Any, Any]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CallRecord:
    """One tool call, as the log and the metrics tell it. Nothing in it is secret.

    `task_id` is the task that a submission started, so that an operator can follow a purchase.

    `outcome` is "ok", an error code, or "cancelled" for a caller that left; `seen` counts the tasks answered, by state.
    """

    tool: str
    tenant: str
    era: str
    client: str
    request_id: str
    outcome: str = "cancelled"
    seconds: float = 0.0
    stats: LookupStats = NO_STATS
    seen: Mapping[str, Any] = field(default_factory=dict)
    task_id: str | None = None


class CallObserver(Protocol):
    """Who is told of every tool call."""

    def began(self) -> None:
        """Note that a call has begun; it is followed by one `called`."""
        ...

    def called(self, record: CallRecord) -> None:
        """Note one finished call; never fails and never waits."""
        ...


class RequestContext(Protocol):
    """What a transport knows about who is calling."""

    def principal(self, ctx: Context) -> Principal:
        """Return the caller of this request."""
        ...

    def client(self, ctx: Context) -> str:
        """Return the name that the client program goes by; "" where it gave none."""
        ...

    def request_id(self, ctx: Context) -> str:
        """Return what this request is called in the log."""
        ...

    def placeholder_for(self, ctx: Context, value: Json) -> Any:
        """Return what stands for `value` in the result: the value, or what the transport will put it in place of.

        Raises RateLimited where the caller's answers hold too much memory already.
        """
        ...


class TaskHandleFactory(Protocol):
    """What may stand in for the answer of a tool that starts something."""

    def wanted(self, ctx: Context) -> bool:
        """Whether this request's client takes a handle in place of a result."""
        ...

    async def created(self, principal: Principal, task_id: str) -> dict[str, Any]:
        """Return the handle of a task that was just started."""
        ...


class ToolCallHandler:
    """Answers tools/call."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts list of a call
        self,
        tools: Mapping[str, LumaTool],
        services: Services,
        caller: RequestContext,
        call_log: CallObserver,
        handles: TaskHandleFactory,
        result_meta: Mapping[str, Any],
    ) -> None:
        """Serve `tools`, by name, with `services`; `result_meta` is the `_meta` of results from 2026 on."""
        self._faults = ThrottledExceptionLog(
            log, "The handle of a task that was started could not be made; its caller gets the task_id"
        )
        self._result_meta = result_meta
        self._handles = handles
        self._tools = tools
        self._services = services
        self._caller = caller
        self._call_log = call_log

    async def __call__(self, ctx: Context, params: CallToolRequestParams) -> dict[str, Any]:
        """Return the result in wire form. Raises MCPError -32602 for a tool that does not exist."""
        tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"There is no such tool; the tools are {', '.join(self._tools)}.")
        return await self._called(ctx, tool, params.arguments or {})

    async def middleware(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Answer calls of the tools as a middleware, and let everything else pass.

        The call is held against the schema of its revision, as the SDK does first too. Passed by are what the SDK does
        besides: it reads the parameters a second time, and holds against a schema a result that is ours, in which
        marks may still stand for the values. For hosts whose requests need no handshake: the SDK asks for that later.
        """
        name = (ctx.params or {}).get("name")
        is_call = ctx.method == "tools/call" and ctx.request_id is not None  # a notification asks for nothing
        tool = self._tools.get(name) if is_call and isinstance(name, str) else None
        if tool is None or ctx.params is None:
            return await call_next(ctx)
        try:
            validate_client_request(ctx.method, ctx.protocol_version, ctx.params)
        except ValidationError:
            raise MCPError(INVALID_PARAMS, "tools/call takes `name`, a string, and `arguments`, an object.") from None
        return await self._called(ctx, tool, ctx.params.get("arguments") or {})

    async def _called(self, ctx: Context, tool: LumaTool, given: Mapping[str, Any]) -> dict[str, Any]:
        principal, started = self._caller.principal(ctx), time.perf_counter()
        record = self._record(ctx, tool, principal)
        self._call_log.began()
        try:
            answer = await self._answer(tool, _call(ctx, principal), given, record)
            try:
                result = await self._result(ctx, principal, answer)
            except RateLimited as exc:  # the answer would be too large beside the caller's other requests
                record.outcome = exc.code.value
                result = await self._result(ctx, principal, exc)
            return result if record.era == "2025" else {"resultType": "complete", "_meta": self._result_meta, **result}
        finally:
            record.seconds = time.perf_counter() - started
            self._call_log.called(record)

    async def _result(self, ctx: Context, principal: Principal, answer: ToolResult | LumaError) -> dict[str, Any]:
        if isinstance(answer, LumaError):
            return wire_result(error_text(answer), {"error": error_view(answer)}, is_error=True)
        if answer.started is not None and self._handles.wanted(ctx):
            try:
                return await self._handles.created(principal, answer.started)
            except Exception as exc:  # noqa: BLE001 - the video is bought: a result that names its task serves as well
                self._faults.note(exc)
        placeholder_for = self._caller.placeholder_for
        return wire_result(placeholder_for(ctx, answer.text), placeholder_for(ctx, answer.result), is_error=False)

    async def _answer(
        self, tool: LumaTool, call: Call, given: Mapping[str, Any], record: CallRecord
    ) -> ToolResult | LumaError:
        try:
            answer = await tool.handler(self._services, call, read_arguments(tool.arguments, given))
        except LumaError as exc:
            record.outcome = exc.code.value
            return exc
        except Exception:
            log.exception("A tool call met a fault of this service")
            record.outcome = InternalError.code.value
            return self._services.backend.error(InternalError)
        record.outcome, record.stats, record.seen = "ok", answer.stats, answer.seen
        record.task_id = answer.started
        return answer

    def _record(self, ctx: Context, tool: LumaTool, principal: Principal) -> CallRecord:
        return CallRecord(
            tool=tool.name,
            tenant=principal.tenant,
            era=era_of(ctx),
            client=self._caller.client(ctx),
            request_id=self._caller.request_id(ctx),
        )


def era_of(ctx: Context) -> str:
    """Return the generation of the protocol that a request speaks, as logs and metrics name it."""
    return "2026" if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else "2025"


def _call(ctx: Context, principal: Principal) -> Call:
    token = (ctx.meta or {}).get("progress_token")

    async def progress(done: float, total: float, words: str) -> None:
        if token is not None:
            await ctx.session.send_progress_notification(
                token, done, total, words, related_request_id=str(ctx.request_id)
            )

    return Call(principal, progress)


def wire_result(text: str, result: Any, *, is_error: bool) -> dict[str, Any]:
    """Return a tool result in wire form: words for the model, and the typed half."""
    return {
        "content": [{"type": "text", "text": text}],
        "structuredContent": {"result": result},
        "isError": is_error,
    }
