"""The Tasks extension: clients that declare it get a task handle from billable tools, and poll by that handle.

Source: SEP-2663 of the Model Context Protocol. A handle is a sealed token: any replica can serve it, it cannot be
guessed, and it is valid for its own tenant only.
"""

import json
from dataclasses import replace
from typing import Any, Literal

from mcp.server.lowlevel import Server
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value
from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, RequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from app.domain.access import Principal
from app.domain.errors import LumaError
from app.domain.rendered import RenderedTask, TaskResult
from app.domain.snapshot import TaskSnapshot, snapshot_after_read
from app.domain.task import TaskState
from app.mcp_server.tools.call_handler import Context, RequestContext, wire_result
from app.mcp_server.tools.definition import Services
from app.mcp_server.tools.rendering import single_task
from app.mcp_server.tools.results import iso
from app.ports.auth import Caller
from app.ports.store import StoreUnavailable

EXTENSION = "io.modelcontextprotocol/tasks"
PURPOSE = "task"
PREFIX = "v1."
TTL_SECONDS = 24 * 3600.0
CANCEL_KEPT_SECONDS = 30 * 24 * 3600.0

WORKING = "Luma is making the video; {duration} as a rule."
UNREADABLE = "The video's state cannot be read right now; it is safe, and will be asked for again."
CANCELLED = "Cancelled here. {backend} cannot stop a generation: it may still finish and be billed."
LOST = "{backend} no longer knows this generation."

Wire = dict[str, Any]
Status = Literal["working", "completed", "failed", "cancelled"]


class TaskParams(RequestParams):
    """The parameters of tasks/get and tasks/cancel."""

    task_id: str = Field(alias="taskId")


class TaskUpdateParams(TaskParams):
    """The parameters of tasks/update. This service never asks for input, so the responses are ignored."""

    input_responses: dict[str, Any] = Field(alias="inputResponses", default_factory=dict)


class TaskHandles:
    """Makes task handles, and serves the methods of the extension."""

    def __init__(self, services: Services, context: RequestContext) -> None:
        """Answer with `services`. `context` provides the caller of each request."""
        self._services = services
        self._context = context

    def register(self, server: Server[Any]) -> None:
        """Advertise the extension and serve its methods."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", TaskUpdateParams, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    def wanted(self, ctx: Context) -> bool:
        """Return whether this request's client accepts a handle in place of a result."""
        capabilities = ctx.session.client_capabilities
        declared = (capabilities.extensions if capabilities else None) or {}
        return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and EXTENSION in declared

    async def created(self, principal: Principal, task_id: str) -> Wire:
        """Return the handle of a task that was just started, as the result of the tool call."""
        snapshots = await self._services.snapshots.get_many(principal.owner, [task_id])
        snapshot = snapshots.get(task_id)
        created_at = snapshot.began_at if snapshot is not None and snapshot.began_at is not None else self._now()
        content = {"id": task_id, "created": created_at}
        handle = PREFIX + self._services.sealer.seal(PURPOSE, content, principal.owner)
        return {"resultType": "task", **self._frame(handle, created_at, created_at, "working", WORKING)}

    async def get(self, ctx: Context, params: TaskParams) -> Wire:
        """Answer tasks/get."""
        caller, task_id, created_at = self._opened(ctx, params)
        return {"resultType": "complete", **await self.detailed(caller, params.task_id, task_id, created_at)}

    async def update(self, ctx: Context, params: TaskUpdateParams) -> Wire:
        """Answer tasks/update. The input is ignored, because none was asked for."""
        self._opened(ctx, params)
        return {"resultType": "complete"}

    async def cancel(self, ctx: Context, params: TaskParams) -> Wire:
        """Answer tasks/cancel. A running task is marked as cancelled; a final one is unchanged."""
        caller, task_id, _ = self._opened(ctx, params)
        answer = (await self._services.tasks.find(caller, [task_id])).answers[task_id]
        if not isinstance(answer, RenderedTask) or not answer.is_final:
            key = self._cancel_key(caller.principal.owner, task_id)
            now = self._services.signing.sign(key, repr(self._now()).encode())
            try:
                await self._services.leases.put_if_absent(key, now, CANCEL_KEPT_SECONDS)
            except StoreUnavailable as exc:
                raise MCPError(INTERNAL_ERROR, "This service cannot mark the task right now. Try again.") from exc
        return {"resultType": "complete"}

    def require_declared(self, ctx: Context) -> None:
        """Raise MCPError -32021 unless this request's client declares the extension."""
        require_client_extension(ctx, EXTENSION)

    def open(self, principal: Principal, handle: str) -> tuple[str, float] | None:
        """Return the backend's id and the creation time (unix seconds) behind a handle of the caller's, or None."""
        if not handle.startswith(PREFIX):
            return None
        content = self._services.sealer.unseal(PURPOSE, handle.removeprefix(PREFIX), principal.owners)
        if content is None or self._now() - content["created"] > TTL_SECONDS:
            return None
        return content["id"], content["created"]

    async def detailed(self, caller: Caller, handle: str, task_id: str, created_at: float) -> Wire:
        """Return the task behind a handle as the extension shows it."""
        cancelled_at = await self._cancelled_at(caller.principal.owner, task_id)
        if cancelled_at is not None:
            return self._frame(handle, created_at, cancelled_at, "cancelled", CANCELLED)
        answer = (await self._services.tasks.find(caller, [task_id])).answers[task_id]
        changed_at = await self._changed_at(caller.principal.owner, task_id, answer, created_at)
        if isinstance(answer, LumaError):
            if not answer.is_retryable:
                raise MCPError(INTERNAL_ERROR, str(answer)) from answer
            return self._frame(handle, created_at, changed_at, "working", UNREADABLE)
        if answer is None:
            lost = {"error": {"code": INTERNAL_ERROR, "message": self._services.backend.say(LOST)}}
            return {**self._frame(handle, created_at, created_at, "failed", LOST), **lost}
        if not answer.is_final:
            return self._frame(handle, created_at, changed_at, "working", WORKING)
        return {
            **self._frame(handle, created_at, changed_at, "completed", f"The generation {answer.state.value}."),
            "result": self._result(answer),
        }

    def _opened(self, ctx: Context, params: TaskParams) -> tuple[Caller, str, float]:
        """Return whose task is asked for. Raises MCPError where the request is not one that may ask."""
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
        self.require_declared(ctx)
        if ctx.request is not None and decode_header_value(ctx.request.headers.get("mcp-name")) != params.task_id:
            raise MCPError(HEADER_MISMATCH, "The Mcp-Name header must be the taskId of the request.")
        caller = self._context.caller(ctx)
        opened = self.open(caller.principal, params.task_id)
        if opened is None:
            raise MCPError(INVALID_PARAMS, "There is no such task, or its handle has expired.")
        return caller, *opened

    async def _cancelled_at(self, tenant: str, task_id: str) -> float | None:
        key = self._cancel_key(tenant, task_id)
        try:
            there = await self._services.leases.get(key)
        except StoreUnavailable:
            return None
        marked = self._services.signing.verified(key, there) if there is not None else None
        return float(marked) if marked is not None else None

    async def _changed_at(self, owner: str, task_id: str, answer: TaskResult, created_at: float) -> float:
        """Return when the task came into its state: by the backend's word, else when it was first seen so."""
        if not isinstance(answer, RenderedTask):
            return created_at
        if answer.finished_at is not None:
            return answer.finished_at
        snapshot = (await self._services.snapshots.get_many(owner, [task_id])).get(task_id)
        if snapshot is None or snapshot.task.state is not answer.state:
            snapshot = await self._note(owner, snapshot, answer)
        return snapshot.changed_at if snapshot.changed_at is not None else created_at

    async def _note(self, tenant: str, snapshot: TaskSnapshot | None, task: RenderedTask) -> TaskSnapshot:
        now_seen = snapshot_after_read(snapshot, task, self._now())
        if snapshot is not None:
            now_seen = replace(now_seen, expects_callback=snapshot.expects_callback)
        await self._services.snapshots.put_many(tenant, [now_seen])
        return now_seen

    def _result(self, task: RenderedTask) -> Wire:
        """Return what luma_get_task answers for a final task; a failed generation is an error of the tool."""
        text, result = map(json.loads, single_task(task, self._now(), self._services.polling))
        return {"resultType": "complete", **wire_result(text, result, is_error=task.state is TaskState.FAILED)}

    def _frame(self, handle: str, created_at: float, changed_at: float, status: Status, words: str) -> Wire:
        return {
            "taskId": handle,
            "status": status,
            "statusMessage": self._services.backend.say(words),
            "createdAt": iso(created_at),
            "lastUpdatedAt": iso(changed_at),
            "ttlMs": int(TTL_SECONDS * 1000),
            "pollIntervalMs": round(self._services.polling.shortest_pause_seconds * 1000),
        }

    def _now(self) -> float:
        return self._services.wall_clock()

    def _cancel_key(self, tenant: str, task_id: str) -> str:
        return self._services.keys.key(tenant, "cancelled", task_id)
