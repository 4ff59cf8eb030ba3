"""The handlers of the two tools that read tasks."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from app.domain.backend import BackendDescription
from app.domain.errors import AccountDisabled, LumaError, NoCredit, NotFound, RateLimited, Unauthorized
from app.domain.rendered import Lookup
from app.mcp_server.tools.arguments import BatchArguments, TaskArguments
from app.mcp_server.tools.batch import batch_result
from app.mcp_server.tools.definition import Call
from app.mcp_server.tools.rendering import single_task_result
from app.mcp_server.tools.tool_result import ToolResult
from app.services.limits.work_turns import WorkTurns
from app.services.polling.waiter import TaskWaiter
from app.services.tasks.lookup import TaskService

_CALLER_ERRORS = (Unauthorized, NoCredit, AccountDisabled)
"""Errors of the account, not of an id. If all ids have errors, and the first error is one of these, the call fails."""


class TaskTools:
    """The handlers of luma_get_tasks_batch and luma_get_task."""

    def __init__(
        self,
        tasks: TaskService,
        waiter: TaskWaiter,
        turns: WorkTurns,
        backend: BackendDescription,
        wall_clock: Callable[[], float],
    ) -> None:
        """Read tasks with `tasks`, or with `waiter` if the call waits. Large results of waits are joined in `turns`.

        `wall_clock` returns unix seconds.
        """
        self._turns = turns
        self._tasks = tasks
        self._waiter = waiter
        self._backend = backend
        self._polling = backend.policy.polling
        self._wall_clock = wall_clock

    async def get_tasks_batch(self, call: Call, arguments: BatchArguments) -> ToolResult:
        """Return many tasks. If every id has an error, raise the first one if it is about the caller's account."""
        lookup = await self._find(call, arguments.task_ids, arguments.wait_seconds)
        _raise_caller_error(lookup)
        result = batch_result(lookup, self._wall_clock(), self._backend, is_full=arguments.detail == "full")
        is_refused = all(isinstance(answer, RateLimited) for answer in lookup.answers.values())
        return replace(result, is_refused=True) if is_refused else result

    async def get_task(self, call: Call, arguments: TaskArguments) -> ToolResult:
        """Return one task. Raises NotFound if the backend does not know the id, and the LumaError of a failed read."""
        lookup = await self._find(call, [arguments.task_id], arguments.wait_seconds)
        answer = lookup.answers[arguments.task_id]
        if answer is None:
            raise self._backend.error(NotFound)
        if isinstance(answer, LumaError):
            raise answer
        text, result = single_task_result(answer, self._wall_clock(), self._polling)
        return ToolResult(text, result, lookup.stats, {answer.state.value: 1})

    async def _find(self, call: Call, task_ids: Sequence[str], wait_seconds: float) -> Lookup:
        if wait_seconds == 0:
            return await self._tasks.find(call.caller, task_ids)

        async def report(elapsed_seconds: float, finished: int, total: int) -> None:
            await call.progress(elapsed_seconds, wait_seconds, f"{finished} of {total} finished")

        lookup = await self._waiter.find(call.caller, task_ids, wait_seconds, report)
        await self._turns.wait_for_batch(call.caller.principal.subject, len(lookup.answers))
        return lookup


def _raise_caller_error(lookup: Lookup) -> None:
    """Raise the first error if every id has an error, and the first is one of _CALLER_ERRORS."""
    faults = [answer for answer in lookup.answers.values() if isinstance(answer, LumaError)]
    if len(faults) == len(lookup.answers) and isinstance(faults[0], _CALLER_ERRORS):
        raise faults[0]
