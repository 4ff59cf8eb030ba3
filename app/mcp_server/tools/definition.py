"""The definition of a tool: data alone. Its handler is a method of an object that has what the handler uses."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_types import Tool, ToolAnnotations

from app.domain.access import Scope
from app.mcp_server.tools.arguments import Arguments
from app.mcp_server.tools.schemas import input_schema, output_schema
from app.mcp_server.tools.tool_result import ToolResult
from app.ports.auth import Caller

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
STATIC = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
BILLABLE = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)


Progress = Callable[[float, float, str], Awaitable[None]]
"""Sends progress: done, total, message. Does nothing unless the client asked for progress."""


@dataclass(frozen=True, slots=True)
class Call:
    """The caller of a tool, its progress callback, and the id of the call in the log."""

    caller: Caller
    progress: Progress
    request_id: str


Handler = Callable[[Call, Any], Awaitable[ToolResult]]
"""Handles calls of one tool: takes the call and its arguments, of the type that the tool names. Raises LumaError."""


@dataclass(frozen=True, slots=True)
class LumaTool:
    """One tool: description, argument and result types, and the scope that a caller needs."""

    name: str
    title: str
    description: str
    annotations: ToolAnnotations
    arguments: type[Arguments]
    result: Any
    scope: Scope

    def published(self) -> Tool:
        """Return the tool as tools/list shows it."""
        return Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            annotations=self.annotations,
            input_schema=input_schema(self.arguments),
            output_schema=output_schema(self.result),
        )


@dataclass(frozen=True, slots=True)
class BoundTool:
    """What a call needs of a tool, with its handler."""

    name: str
    scope: Scope
    arguments: type[Arguments]
    handle: Handler


def bind(tools: Sequence[LumaTool], handlers: Mapping[str, Handler]) -> dict[str, BoundTool]:
    """Return the tools by name, in their order. Raises ValueError for a tool or a handler without the other."""
    names = {tool.name for tool in tools}
    if names != handlers.keys():
        raise ValueError(
            f"Tools without a handler: {sorted(names - handlers.keys())}. "
            f"Handlers without a tool: {sorted(handlers.keys() - names)}."
        )
    return {tool.name: BoundTool(tool.name, tool.scope, tool.arguments, handlers[tool.name]) for tool in tools}
