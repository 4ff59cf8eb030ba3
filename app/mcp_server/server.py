"""The MCP server: the surface, built from the catalogue; whoever hosts it attaches the transports."""

from collections.abc import Sequence
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server

from app.mcp_server.door import Caller, CallJournal, Context, Door
from app.mcp_server.guide import INSTRUCTIONS
from app.mcp_server.prompts import PROMPTS, complete, get_prompt
from app.mcp_server.tool import LumaTool, Services

LISTS_TTL_MS = 3_600_000
"""How long a client may keep the lists, in milliseconds: they change with a release only."""


def build_server(
    tools: Sequence[LumaTool], services: Services, caller: Caller, journal: CallJournal, *, version: str
) -> Server[Any]:
    """Return the server over finished parts; transports are attached by whoever hosts it."""
    published = [tool.published() for tool in tools]
    schemas = {tool.name: tool.input_schema for tool in published}

    async def list_tools(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=published)

    async def list_prompts(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=list(PROMPTS))

    async def list_resources(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[])

    async def one_prompt(_ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        return get_prompt(params)

    async def completion(_ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        return types.CompleteResult(completion=complete(params))

    hint = CacheHint(ttl_ms=LISTS_TTL_MS, scope="public")
    server: Server[Any] = Server(
        "luma-mcp",
        version=version,
        title="Luma Dream Machine",
        description="Make videos with Luma Dream Machine through AceDataCloud.",
        instructions=INSTRUCTIONS,
        cache_hints={"tools/list": hint, "prompts/list": hint, "resources/list": hint, "server/discover": hint},
        get_tool_input_schema=schemas.get,
        on_list_tools=list_tools,
        on_list_prompts=list_prompts,
        on_list_resources=list_resources,
        on_get_prompt=one_prompt,
        on_completion=completion,
    )
    door = Door({tool.name: tool for tool in tools}, services, caller, journal)
    server.add_request_handler("tools/call", types.CallToolRequestParams, door)
    return server
