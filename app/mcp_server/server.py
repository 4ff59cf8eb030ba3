"""Builds the SDK's MCP server with the lists of tools, prompts and resources. The caller attaches a transport."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel import Server
from mcp.shared.inbound import x_mcp_header_map
from mcp_types import SERVER_INFO_META_KEY

from app.domain.backend import BackendDescription
from app.mcp_server.extensions.subscriptions import SubscriptionStreams
from app.mcp_server.extensions.tasks import TasksExtension
from app.mcp_server.prompts import PROMPTS, complete, get_prompt
from app.mcp_server.protocol_versions import SUPPORTED_VERSIONS
from app.mcp_server.reference import instructions
from app.mcp_server.request_log import RequestLog
from app.mcp_server.resources.tasks import TEMPLATES, TaskResources
from app.mcp_server.tools.call_handler import Context, RequestContext, ToolCallHandler
from app.mcp_server.tools.tool_lists import ToolLists

LISTS_TTL_MS = 3_600_000
"""Time in milliseconds for which a client may cache lists.

Lists change with a release and with the client's settings.
"""

_CACHEABLE: tuple[CacheableMethod, ...] = (
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "server/discover",
)


@dataclass(frozen=True, slots=True)
class McpServer:
    """The MCP server and its handlers.

    Attributes:
        server: the SDK's server.
        call_handler: the handler of tools/call. The HTTP transport also adds `call_handler.middleware` to the server.
        subscriptions: the open streams. They are closed before shutdown.
        request_log: a middleware that each transport adds, after `call_handler.middleware` if it adds that.

    """

    server: Server[Any]
    call_handler: ToolCallHandler
    subscriptions: SubscriptionStreams
    request_log: RequestLog


def build_server(
    lists: ToolLists, resources: TaskResources, backend: BackendDescription, context: RequestContext, *, version: str
) -> Server[Any]:
    """Return a server with tool lists, prompts and resources. `add_request_handlers` adds the other handlers.

    `context` provides the caller and the tool filter of each request, which select the tools of `lists`.
    """
    schemas = {name: tool.input_schema for name, tool in lists.published.items()}
    mirrored = {name: schema for name, schema in schemas.items() if x_mcp_header_map(schema)}

    async def list_tools(ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return lists.list_result(context.caller(ctx).principal, context.tool_filter(ctx))

    async def read_prompt(_ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        return get_prompt(params, backend)

    async def complete_argument(ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        if isinstance(params.ref, types.PromptReference):
            return types.CompleteResult(completion=complete(params))
        return types.CompleteResult(completion=await resources.complete(ctx, params))

    return Server(
        "luma-mcp",
        version=version,
        title="Luma Dream Machine",
        description=f"Make videos with Luma Dream Machine through {backend.name}.",
        instructions=instructions(backend),
        cache_hints=dict.fromkeys(_CACHEABLE, CacheHint(ttl_ms=LISTS_TTL_MS, scope="public")),
        get_tool_input_schema=mirrored.get,  # the SDK needs it only for arguments mirrored in headers; there are none
        on_list_tools=list_tools,
        on_list_prompts=_list_prompts,
        on_get_prompt=read_prompt,
        on_completion=complete_argument,
        on_list_resources=_list_resources,
        on_list_resource_templates=_list_templates,
        on_read_resource=resources.read,
    )


def add_request_handlers(
    server: Server[Any],
    call_handler: ToolCallHandler,
    subscriptions: SubscriptionStreams,
    tasks_extension: TasksExtension,
) -> None:
    """Add the handlers of calls, subscriptions, tasks and discovery, which the SDK's constructor does not accept."""
    tasks_extension.register(server)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_handler)
    server.add_request_handler("subscriptions/listen", types.SubscriptionsListenRequestParams, subscriptions)
    server.add_request_handler("server/discover", types.RequestParams, partial(_discover, server))


def result_meta(server: Server[Any]) -> dict[str, Any]:
    """Return the `_meta` of the server's results from protocol 2026 on."""
    return {SERVER_INFO_META_KEY: server.server_info_stamp}


async def _discover(server: Server[Any], ctx: Context, _params: types.RequestParams) -> types.DiscoverResult:
    """Handle server/discover with the SDK's capabilities, with `listChanged` false for every list.

    Lists change with a release only, so no change is ever notified.
    """
    capabilities = server.get_capabilities(protocol_version=ctx.protocol_version)
    for capability in (capabilities.tools, capabilities.prompts, capabilities.resources):
        if capability is not None:
            capability.list_changed = False
    return types.DiscoverResult(
        supported_versions=list(SUPPORTED_VERSIONS), capabilities=capabilities, instructions=server.instructions
    )


async def _list_prompts(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=list(PROMPTS))


async def _list_resources(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[])


async def _list_templates(
    _ctx: Context, _params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    return TEMPLATES
