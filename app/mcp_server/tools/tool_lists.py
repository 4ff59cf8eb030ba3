"""The list of tools that a caller sees: those that the caller's scopes and the connection's narrowing leave.

The argument `confirm` is shown to callers whose team asks before costly generations.
"""

from collections.abc import Sequence
from functools import lru_cache

from mcp_types import ListToolsResult

from app.domain.access import Principal, Scope
from app.mcp_server.tools.definition import LumaTool
from app.mcp_server.tools.narrowing import Narrowing

MOST_LISTS = 64
"""Lists that are kept, by the tools in them. The tools themselves are made once."""


class ToolLists:
    """Lists of tools in the order of the catalog.

    Attributes:
        published: every tool by name, as tools/list shows it to callers whose team asks for nothing.

    """

    def __init__(self, tools: Sequence[LumaTool], ttl_ms: int) -> None:
        """List `tools`. A client may keep a list for `ttl_ms`, and share it with no other caller."""
        self._tools = tools
        self.published = {tool.name: tool.published() for tool in tools}
        self._asking = {tool.name: tool.published(asks=True) for tool in tools}
        self._ttl_ms = ttl_ms
        self._list = lru_cache(MOST_LISTS)(self._made)

    def names(self, scopes: frozenset[Scope], narrowing: Narrowing) -> tuple[str, ...]:
        """Return the names of the tools that are left."""
        return tuple(
            tool.name
            for tool in self._tools
            if tool.scope in scopes and not narrowing.hides(tool.name, is_billable=tool.is_billable)
        )

    def listed(self, caller: Principal, narrowing: Narrowing) -> ListToolsResult:
        """Return the tools that are left, as tools/list shows them."""
        return self._list(self.names(caller.scopes, narrowing), asks=caller.asks_above is not None)

    def _made(self, names: tuple[str, ...], *, asks: bool) -> ListToolsResult:
        published = self._asking if asks else self.published
        tools = [published[name] for name in names]
        return ListToolsResult(tools=tools, ttl_ms=self._ttl_ms, cache_scope="private")
