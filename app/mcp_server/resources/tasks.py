"""Tasks as MCP resources: reading by URI, and completion of task ids."""

import re
from collections.abc import Callable

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CompleteRequestParams,
    Completion,
    ListResourceTemplatesResult,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplate,
    ResourceTemplateReference,
    TextResourceContents,
)

from app.domain.backend import BackendDescription
from app.domain.errors import LumaError
from app.domain.rendered import RenderedTask
from app.domain.untrusted_text import is_plain_id
from app.mcp_server.tools.call_handler import Context, RequestContext
from app.mcp_server.tools.rendering import single_task_result
from app.services.purchases.submitted_tasks import SubmittedTasks
from app.services.tasks.lookup import TaskService

URI_TEMPLATE = "luma://tasks/{task_id}"
FINAL_TTL_MS = 3_600_000
RUNNING_TTL_MS = 3_000

_URI = re.compile(r"luma://tasks/([^/?#]+)")

TEMPLATES = ListResourceTemplatesResult(
    resource_templates=[
        ResourceTemplate(
            name="luma_task",
            title="Luma task",
            uri_template=URI_TEMPLATE,
            description="One generation: its state, and its video once it succeeded. The same as luma_get_task; free.",
            mime_type="application/json",
        )
    ]
)


def task_uri(task_id: str) -> str:
    """Return the resource URI of a task."""
    return f"luma://tasks/{task_id}"


def task_id_in(uri: str) -> str | None:
    """Return the task id in the resource URI of a task; None for any other URI."""
    match = _URI.fullmatch(uri)
    return match[1] if match and is_plain_id(match[1]) else None


class TaskResources:
    """Serves tasks as resources, and completes their ids."""

    def __init__(
        self,
        tasks: TaskService,
        submitted: SubmittedTasks,
        backend: BackendDescription,
        context: RequestContext,
        wall_clock: Callable[[], float],
    ) -> None:
        """Read tasks with `tasks`, and complete ids from `submitted`. `context` provides the caller of each request.

        `wall_clock` returns unix seconds.
        """
        self._tasks = tasks
        self._submitted = submitted
        self._backend = backend
        self._context = context
        self._wall_clock = wall_clock

    async def read(self, ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Return the task as JSON.

        Raises MCPError: -32602 for an unknown URI or task, -32603 if the task cannot be read.
        """
        uri = str(params.uri)
        task_id = task_id_in(uri)
        if task_id is None:
            raise MCPError(INVALID_PARAMS, f"There is no such resource; resources are {URI_TEMPLATE}.", {"uri": uri})
        result = (await self._tasks.find(self._context.caller(ctx), [task_id])).answers[task_id]
        if isinstance(result, LumaError):
            raise MCPError(INTERNAL_ERROR, str(result), {"uri": uri}) from result
        if result is None:
            raise MCPError(INVALID_PARAMS, f"{self._backend.name} does not know this task.", {"uri": uri})
        return self._contents(uri, result)

    async def complete(self, ctx: Context, params: CompleteRequestParams) -> Completion:
        """Return the caller's task ids that begin with the argument's value.

        Return none for another template, or while the backend refuses the caller's token.
        """
        reference, principal = params.ref, self._context.caller(ctx).principal
        if not isinstance(reference, ResourceTemplateReference) or str(reference.uri) != URI_TEMPLATE:
            return Completion(values=[], total=0, has_more=False)
        if self._tasks.was_refused(principal.subject):  # withheld until the backend accepts the token again
            return Completion(values=[], total=0, has_more=False)
        values = await self._submitted.beginning_with(principal, params.argument.value)
        return Completion(values=values, total=len(values), has_more=False)

    def _contents(self, uri: str, task: RenderedTask) -> ReadResourceResult:
        _, result = single_task_result(task, self._wall_clock(), self._backend.policy.polling)
        return ReadResourceResult(
            contents=[TextResourceContents(uri=uri, mime_type="application/json", text=result.decode())],
            ttl_ms=FINAL_TTL_MS if task.is_final else RUNNING_TTL_MS,
            cache_scope="private",
        )
