"""The list of tools that a caller sees. It depends on the caller's scopes and on the connection's tool filter.

Callers see the argument `confirm` if their team requires the user's consent to costly generations.
"""

from collections.abc import Sequence
from functools import lru_cache

from mcp_types import ListToolsResult

from app.domain.access import Principal, Scope
from app.mcp_server.tools.definition import LumaTool
from app.mcp_server.tools.tool_filter import ToolFilter

MAX_LISTS = 64
"""Size of the cache of lists. The tools in them are made once."""


class ToolLists:
    """Lists of tools in the order of the catalog.

    Attributes:
        published: all tools by name, as tools/list shows them without the argument `confirm`.

    """

    def __init__(self, tools: Sequence[LumaTool], ttl_ms: int) -> None:
        """List `tools`. A client may cache a list for `ttl_ms`, for its own caller only."""
        self._tools = tools
        self.published = {tool.name: tool.published() for tool in tools}
        self._published_with_confirm = {tool.name: tool.published(with_confirm=True) for tool in tools}
        self._ttl_ms = ttl_ms
        self._cached_list = lru_cache(MAX_LISTS)(self._build_list)

    def names(self, scopes: frozenset[Scope], tool_filter: ToolFilter) -> tuple[str, ...]:
        """Return the names of the tools that a caller with `scopes` sees."""
        return tuple(
            tool.name
            for tool in self._tools
            if tool.scope in scopes and not tool_filter.hides(tool.name, is_billable=tool.is_billable)
        )

    def list_result(self, caller: Principal, tool_filter: ToolFilter) -> ListToolsResult:
        """Return the result of tools/list for `caller`."""
        return self._cached_list(self.names(caller.scopes, tool_filter), with_confirm=caller.asks_above is not None)

    def _build_list(self, names: tuple[str, ...], *, with_confirm: bool) -> ListToolsResult:
        published = self._published_with_confirm if with_confirm else self.published
        tools = [published[name] for name in names]
        return ListToolsResult(tools=tools, ttl_ms=self._ttl_ms, cache_scope="private")
