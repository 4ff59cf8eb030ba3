"""Each task as a resource: read by its URI, found by completion."""

import re

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

from app.domain.access import Principal
from app.domain.errors import LumaError
from app.domain.foreign_text import is_plain_id
from app.domain.rendered import RenderedTask
from app.mcp_server.tools.definition import Services
from app.mcp_server.tools.rendering import single_task
from app.ports.auth import Caller

TEMPLATE = "luma://tasks/{task_id}"
FINAL_TTL_MS = 3_600_000
RUNNING_TTL_MS = 3_000

_URI = re.compile(r"luma://tasks/([^/?#]+)")

TEMPLATES = ListResourceTemplatesResult(
    resource_templates=[
        ResourceTemplate(
            name="luma_task",
            title="Luma task",
            uri_template=TEMPLATE,
            description="One generation: its state, then its video. The same as luma_get_task; free.",
            mime_type="application/json",
        )
    ]
)


def task_uri(task_id: str) -> str:
    """Return the URI under which a task is a resource."""
    return f"luma://tasks/{task_id}"


def task_id_in(uri: str) -> str | None:
    """Return the task that a URI names, or None where it names none."""
    match = _URI.fullmatch(uri)
    return match[1] if match and is_plain_id(match[1]) else None


async def read_task(services: Services, caller: Caller, params: ReadResourceRequestParams) -> ReadResourceResult:
    """Return the task as JSON. Raises MCPError -32602 for a URI or task that does not exist."""
    uri = str(params.uri)
    task_id = task_id_in(uri)
    if task_id is None:
        raise MCPError(INVALID_PARAMS, f"There is no such resource; resources are {TEMPLATE}.", {"uri": uri})
    answer = (await services.tasks.find(caller, [task_id])).answers[task_id]
    if isinstance(answer, LumaError):
        raise MCPError(INTERNAL_ERROR, str(answer), {"uri": uri}) from answer
    if answer is None:
        raise MCPError(INVALID_PARAMS, f"{services.backend.name} does not know this task.", {"uri": uri})
    return _contents(services, uri, answer)


async def complete_task_id(services: Services, principal: Principal, params: CompleteRequestParams) -> Completion:
    """Return the ids that the tenant knows and that begin as the caller has; nothing for another template."""
    reference = params.ref
    if not isinstance(reference, ResourceTemplateReference) or str(reference.uri) != TEMPLATE:
        return Completion(values=[], total=0, has_more=False)
    if services.tasks.was_refused(principal.subject):  # only the backend can tell whether the token counts again
        return Completion(values=[], total=0, has_more=False)
    values = await services.submitted.beginning_with(principal.owners, params.argument.value)
    return Completion(values=values, total=len(values), has_more=False)


def _contents(services: Services, uri: str, task: RenderedTask) -> ReadResourceResult:
    _, result = single_task(task, services.wall_clock(), services.polling)
    return ReadResourceResult(
        contents=[TextResourceContents(uri=uri, mime_type="application/json", text=result.decode())],
        ttl_ms=FINAL_TTL_MS if task.is_final else RUNNING_TTL_MS,
        cache_scope="private",
    )
