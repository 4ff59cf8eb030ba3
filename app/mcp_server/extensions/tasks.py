"""The Tasks extension (SEP-2663): clients that declare it get a task handle from billable tools, and poll with it."""

from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from app.domain.access import Principal
from app.mcp_server.extensions.handled_tasks import NO_SUCH_TASK, HandledTasks, Wire
from app.mcp_server.extensions.task_handles import TaskHandle, TaskHandles
from app.mcp_server.tools.call_handler import Context, RequestContext
from app.ports.auth import Caller
from app.ports.store import StoreUnavailable

EXTENSION = "io.modelcontextprotocol/tasks"


class TaskParams(RequestParams):
    """The parameters of tasks/get and tasks/cancel."""

    task_id: str = Field(alias="taskId")


class TaskUpdateParams(TaskParams):
    """The parameters of tasks/update. Tasks of this service never need input, so the responses are ignored."""

    input_responses: dict[str, Any] = Field(alias="inputResponses", default_factory=dict)


class TasksExtension:
    """Makes handles for clients that declare the extension, and handles the extension's methods."""

    def __init__(self, handles: TaskHandles, tasks: HandledTasks, context: RequestContext) -> None:
        """Make handles with `handles`, and read tasks with `tasks`. `context` provides the caller of each request."""
        self._handles = handles
        self._tasks = tasks
        self._context = context

    def register(self, server: Server[Any]) -> None:
        """Declare the extension in the server's capabilities, and add the handlers of its methods."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", TaskUpdateParams, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    def accepts_handle(self, ctx: Context) -> bool:
        """Return whether this request's client accepts a handle in place of a result."""
        capabilities = ctx.session.client_capabilities
        declared = (capabilities.extensions if capabilities else None) or {}
        return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and EXTENSION in declared

    async def handle_result(self, principal: Principal, task_id: str) -> Wire:
        """Return the handle of a task that was just started, as the wire form of the tool call's result."""
        created_at = await self._tasks.created_at(principal.owner, task_id)
        handle = self._handles.make(principal, task_id, created_at)
        return {"resultType": "task", **self._tasks.new_task(handle)}

    async def get(self, ctx: Context, params: TaskParams) -> Wire:
        """Answer tasks/get. Raises MCPError as `_open_handle` and `detailed` do."""
        caller, handle = self._open_handle(ctx, params)
        return {"resultType": "complete", **await self.detailed(caller, handle)}

    async def update(self, ctx: Context, params: TaskUpdateParams) -> Wire:
        """Answer tasks/update. The input is ignored, because none was asked for."""
        self._open_handle(ctx, params)
        return {"resultType": "complete"}

    async def cancel(self, ctx: Context, params: TaskParams) -> Wire:
        """Answer tasks/cancel. A running task is marked as cancelled; a final one is unchanged.

        Raises MCPError: -32603 if the task cannot be read or the mark cannot be stored, and as `_open_handle` does.
        """
        caller, handle = self._open_handle(ctx, params)
        try:
            await self._tasks.cancel(caller, handle)
        except StoreUnavailable as exc:
            raise MCPError(INTERNAL_ERROR, "This service cannot mark the task right now. Try again.") from exc
        return {"resultType": "complete"}

    def require_declared(self, ctx: Context) -> None:
        """Raise MCPError -32021, with the capability that is missing, unless the client declares the extension.

        This is `require_client_extension` of the SDK's high-level server, which is not loaded: see deferred_packages.
        """
        capabilities = ctx.session.client_capabilities
        if capabilities is None or EXTENSION not in (capabilities.extensions or {}):
            required: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, f"This method needs the extension {EXTENSION}", required)

    def open(self, principal: Principal, text: str) -> TaskHandle | None:
        """Return the handle; None if it is malformed or expired, or was made for another tenant than `principal`'s."""
        return self._handles.open(principal, text)

    async def detailed(self, caller: Caller, handle: TaskHandle) -> Wire:
        """Return the task as tasks/get shows it. Raises MCPError if it cannot be read and a retry will not help."""
        return await self._tasks.detailed(caller, handle)

    def _open_handle(self, ctx: Context, params: TaskParams) -> tuple[Caller, TaskHandle]:
        """Return the caller and the handle of a request.

        Raises MCPError for an old protocol revision, an undeclared extension, a wrong Mcp-Name header or an invalid
        handle.
        """
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
        self.require_declared(ctx)
        if ctx.request is not None and decode_header_value(ctx.request.headers.get("mcp-name")) != params.task_id:
            raise MCPError(HEADER_MISMATCH, "The Mcp-Name header must be the taskId of the request.")
        caller = self._context.caller(ctx)
        handle = self.open(caller.principal, params.task_id)
        if handle is None:
            raise MCPError(INVALID_PARAMS, NO_SUCH_TASK)
        return caller, handle
