"""Converts tasks to the form of the Tasks extension: status, times and result."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS

from app.domain.backend import BackendDescription
from app.domain.calendar import utc_text
from app.domain.errors import LumaError
from app.domain.rendered import RenderedTask, TaskResult
from app.domain.snapshot import TaskSnapshot, snapshot_after_read
from app.domain.task import TaskState
from app.mcp_server.extensions.task_handles import TTL_SECONDS, TaskHandle
from app.mcp_server.tools.call_handler import wire_result
from app.mcp_server.tools.rendering import single_task_result
from app.ports.auth import Caller
from app.services.tasks.cancel_marks import CancelMarks
from app.services.tasks.lookup import TaskService
from app.services.tasks.snapshots import TaskSnapshots

WORKING = "Luma is making the video; {duration} as a rule."
UNREADABLE = "The video's state cannot be read right now; it is safe, and will be asked for again."
CANCELLED = "Cancelled here. {backend} cannot stop a generation: it may still finish and be billed."
NO_SUCH_TASK = "There is no such task, or its handle has expired."
LOST = "{backend} no longer knows this generation."

Wire = dict[str, Any]
"""A result or a part of one, with the member names that clients receive."""

Status = Literal["working", "completed", "failed", "cancelled"]


class HandledTasks:
    """Shows and cancels tasks that clients follow by handle."""

    def __init__(
        self,
        tasks: TaskService,
        snapshots: TaskSnapshots,
        cancel_marks: CancelMarks,
        backend: BackendDescription,
        wall_clock: Callable[[], float],
    ) -> None:
        """Read tasks with `tasks`, and the times of their creation and last change from `snapshots`.

        `wall_clock` returns unix seconds.
        """
        self._tasks = tasks
        self._snapshots = snapshots
        self._cancel_marks = cancel_marks
        self._backend = backend
        self._polling = backend.policy.polling
        self._wall_clock = wall_clock

    async def created_at(self, owner: str, task_id: str) -> float:
        """Return the creation time (unix seconds) of a task that was just started; the current time if unknown."""
        snapshot = (await self._snapshots.get_many(owner, [task_id])).get(task_id)
        return snapshot.began_at if snapshot is not None and snapshot.began_at is not None else self._wall_clock()

    def new_task(self, handle: TaskHandle) -> Wire:
        """Return the task of a new handle, with the status `working`."""
        return self._with_status(handle, handle.created_at, "working", WORKING)

    async def detailed(self, caller: Caller, handle: TaskHandle) -> Wire:
        """Return the task as tasks/get shows it.

        Raises MCPError if the caller may not read it, or if it cannot be read and a retry will not help.
        """
        await self._require_access(caller, handle)
        owner = caller.principal.owner
        cancelled_at = await self._cancel_marks.marked_at(owner, handle.task_id)
        if cancelled_at is not None:
            return self._with_status(handle, cancelled_at, "cancelled", CANCELLED)
        answer = await self._find(caller, handle)
        changed_at = await self._changed_at(owner, answer, handle)
        if isinstance(answer, LumaError):
            if not answer.is_retryable:
                raise MCPError(INTERNAL_ERROR, str(answer)) from answer
            return self._with_status(handle, changed_at, "working", UNREADABLE)
        if answer is None:
            error = {"error": {"code": INTERNAL_ERROR, "message": self._backend.say(LOST)}}
            return {**self._with_status(handle, handle.created_at, "failed", LOST), **error}
        if not answer.is_final:
            return self._with_status(handle, changed_at, "working", WORKING)
        completed = self._with_status(handle, changed_at, "completed", f"The generation {answer.state.value}.")
        return {**completed, "result": self._result(answer)}

    async def cancel(self, caller: Caller, handle: TaskHandle) -> None:
        """Mark a running task as cancelled. Tasks that are final or that the backend has lost stay as they are.

        Raises StoreUnavailable, and MCPError if the caller may not read the task, or if it cannot be read.
        """
        await self._require_access(caller, handle)
        answer = await self._find(caller, handle)
        if isinstance(answer, LumaError):
            raise MCPError(INTERNAL_ERROR, str(answer)) from answer
        if answer is not None and not answer.is_final:
            await self._cancel_marks.put(caller.principal.owner, handle.task_id)

    async def _require_access(self, caller: Caller, handle: TaskHandle) -> None:
        """Raise MCPError if the caller may not read the task; members of a team may see only their own tasks."""
        denied = await self._tasks.access.denied(caller.principal, [handle.task_id])
        for refusal in denied.values():
            if isinstance(refusal, LumaError):
                raise MCPError(INTERNAL_ERROR, str(refusal)) from refusal
            raise MCPError(INVALID_PARAMS, NO_SUCH_TASK)

    async def _find(self, caller: Caller, handle: TaskHandle) -> TaskResult:
        return (await self._tasks.find(caller, [handle.task_id])).answers[handle.task_id]

    async def _changed_at(self, owner: str, answer: TaskResult, handle: TaskHandle) -> float:
        """Return the time at which the task entered its state: as the backend says, or of the first read in this state.

        If the task cannot be read, return the time of its creation.
        """
        if not isinstance(answer, RenderedTask):
            return handle.created_at
        if answer.finished_at is not None:
            return answer.finished_at
        snapshot = (await self._snapshots.get_many(owner, [handle.task_id])).get(handle.task_id)
        if snapshot is None or snapshot.task.state is not answer.state:
            snapshot = await self._save_snapshot(owner, snapshot, answer)
        return snapshot.changed_at if snapshot.changed_at is not None else handle.created_at

    async def _save_snapshot(self, owner: str, snapshot: TaskSnapshot | None, task: RenderedTask) -> TaskSnapshot:
        current = snapshot_after_read(snapshot, task, self._wall_clock())
        if snapshot is not None:
            current = replace(current, expects_callback=snapshot.expects_callback)
        await self._snapshots.put_many(owner, [current])
        return current

    def _result(self, task: RenderedTask) -> Wire:
        """Return the result of luma_get_task for a final task. A failed generation is a tool error."""
        text, result = map(json.loads, single_task_result(task, self._wall_clock(), self._polling))
        return {"resultType": "complete", **wire_result(text, result, is_error=task.state is TaskState.FAILED)}

    def _with_status(self, handle: TaskHandle, changed_at: float, status: Status, message: str) -> Wire:
        """Return the members that a task has in every status."""
        return {
            "taskId": handle.text,
            "status": status,
            "statusMessage": self._backend.say(message),
            "createdAt": utc_text(handle.created_at),
            "lastUpdatedAt": utc_text(changed_at),
            "ttlMs": int(TTL_SECONDS * 1000),
            "pollIntervalMs": round(self._polling.min_read_interval_seconds * 1000),
        }
