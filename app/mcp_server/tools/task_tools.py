"""The two tools that ask how generations are doing."""

from collections.abc import Sequence

from app.domain.errors import AccountDisabled, LumaError, NoCredit, NotFound, Unauthorized
from app.domain.rendered import Lookup
from app.mcp_server.tools.arguments import TaskArguments, TasksArguments
from app.mcp_server.tools.batch import batch_answer
from app.mcp_server.tools.definition import Call, Services
from app.mcp_server.tools.rendering import single_task
from app.mcp_server.tools.tool_result import ToolResult

_ABOUT_THE_CALLER = (Unauthorized, NoCredit, AccountDisabled)
"""Faults that no id is to blame for: where nothing else came back, the call itself has failed."""


async def get_tasks_batch(services: Services, call: Call, arguments: TasksArguments) -> ToolResult:
    """Answer about many tasks at once."""
    lookup = await _find(services, call, arguments.task_ids, arguments.wait_seconds)
    _raise_if_all_about_the_caller(lookup)
    is_full = arguments.detail == "full"
    return batch_answer(lookup, services.wall_clock(), services.backend, is_full=is_full)


async def get_task(services: Services, call: Call, arguments: TaskArguments) -> ToolResult:
    """Answer about one task. Raises NotFound where the backend knows no such id."""
    lookup = await _find(services, call, [arguments.task_id], arguments.wait_seconds)
    answer = lookup.answers[arguments.task_id]
    if answer is None:
        raise services.backend.error(NotFound)
    if isinstance(answer, LumaError):
        raise answer
    text, result = single_task(answer, services.wall_clock(), services.polling)
    return ToolResult(text, result, lookup.stats, {answer.state.value: 1})


async def _find(services: Services, call: Call, task_ids: Sequence[str], wait_seconds: float) -> Lookup:
    if wait_seconds == 0:
        return await services.tasks.find(call.caller, task_ids)

    async def report(elapsed_seconds: float, finished: int, asked: int) -> None:
        await call.progress(elapsed_seconds, wait_seconds, f"{finished} of {asked} finished")

    return await services.waiter.find(call.caller, task_ids, wait_seconds, report)


def _raise_if_all_about_the_caller(lookup: Lookup) -> None:
    faults = [answer for answer in lookup.answers.values() if isinstance(answer, LumaError)]
    if len(faults) == len(lookup.answers) and isinstance(faults[0], _ABOUT_THE_CALLER):
        raise faults[0]
