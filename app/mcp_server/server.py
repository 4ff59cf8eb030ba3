"""The MCP server: the surface, built from the catalogue; whoever hosts it attaches the transports."""

from collections.abc import Sequence
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from app.mcp_server.door import Caller, CallJournal, Context, Door
from app.mcp_server.guide import INSTRUCTIONS
from app.mcp_server.prompts import PROMPTS, complete, get_prompt
from app.mcp_server.tool import LumaTool, Services

LISTS_TTL_MS = 3_600_000
"""How long a client may keep the lists, in milliseconds: they change with a release only."""


_CACHEABLE: tuple[CacheableMethod, ...] = (
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "server/discover",
)


def build_server(
    tools: Sequence[LumaTool], services: Services, caller: Caller, journal: CallJournal, *, version: str
) -> Server[Any]:
    """Return the server over finished parts; transports are attached by whoever hosts it."""
    published = [tool.published() for tool in tools]
    schemas = {tool.name: tool.input_schema for tool in published}

    async def list_tools(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=published)

    server: Server[Any] = Server(
        "luma-mcp",
        version=version,
        title="Luma Dream Machine",
        description="Make videos with Luma Dream Machine through AceDataCloud.",
        instructions=INSTRUCTIONS,
        cache_hints=dict.fromkeys(_CACHEABLE, CacheHint(ttl_ms=LISTS_TTL_MS, scope="public")),
        get_tool_input_schema=schemas.get,
        on_list_tools=list_tools,
        on_list_prompts=_list_prompts,
        on_get_prompt=_get_prompt,
        on_completion=_complete,
        on_list_resources=_list_resources,
        on_list_resource_templates=_list_templates,
        on_read_resource=_read_resource,
    )
    door = Door({tool.name: tool for tool in tools}, services, caller, journal)
    server.add_request_handler("tools/call", types.CallToolRequestParams, door)
    return server


async def _list_prompts(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=list(PROMPTS))


async def _get_prompt(_ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    return get_prompt(params)


async def _complete(_ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    return types.CompleteResult(completion=complete(params))


async def _list_resources(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[])


async def _list_templates(
    _ctx: Context, _params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=[])


async def _read_resource(_ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    raise MCPError(types.INVALID_PARAMS, "There is no such resource: this server has none.", {"uri": str(params.uri)})
