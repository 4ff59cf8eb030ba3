"""The definition of a tool: data alone. Its handler is a method of an object that has what the handler uses."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_types import Tool, ToolAnnotations

from app.domain.access import Scope
from app.mcp_server.tools.arguments import Arguments
from app.mcp_server.tools.narrowing import NOT_NARROWED, Narrowing
from app.mcp_server.tools.schemas import input_schema, output_schema
from app.mcp_server.tools.tool_result import ToolResult
from app.ports.auth import Caller

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
STATIC = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
BILLABLE = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)


Progress = Callable[[float, float, str], Awaitable[None]]
"""Sends progress: done, total, message. Does nothing unless the client asked for progress."""


@dataclass(frozen=True, slots=True)
class Round:
    """The place of a call in a multi-round-trip request (MCP 2026-07-28).

    Attributes:
        can_ask: whether the client takes a question to its user in the place of a result.
        responses: the responses of the client to the questions of the round before, by name.
        state: the state that the round before has given to the client; None in the first round.

    """

    can_ask: bool = False
    responses: Mapping[str, Any] = field(default_factory=dict)
    state: str | None = None


FIRST_ROUND = Round()


class InputNeeded(Exception):
    """The user has to be asked before the call can go on. `question` is an elicitation; `state` comes back with it."""

    def __init__(self, name: str, question: Mapping[str, Any], state: str) -> None:
        """Ask `question` under `name`."""
        super().__init__(name)
        self.name = name
        self.question = question
        self.state = state


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        request_id: the id of the call in the log.
        round: what the call carries of a question that an earlier answer has asked.
        narrowing: the tools that the settings of the connection leave out.

    """

    caller: Caller
    progress: Progress
    request_id: str
    round: Round = FIRST_ROUND
    narrowing: Narrowing = NOT_NARROWED


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

    @property
    def is_billable(self) -> bool:
        """Return whether a call may spend money."""
        return self.annotations == BILLABLE

    def published(self, *, asks: bool = False) -> Tool:
        """Return the tool as tools/list shows it, to callers whose team `asks` before costly generations or others."""
        return Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            annotations=self.annotations,
            input_schema=input_schema(self.arguments, asks=asks),
            output_schema=output_schema(self.result),
        )


@dataclass(frozen=True, slots=True)
class BoundTool:
    """What a call needs of a tool, with its handler."""

    name: str
    scope: Scope
    is_billable: bool
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
    return {
        tool.name: BoundTool(tool.name, tool.scope, tool.is_billable, tool.arguments, handlers[tool.name])
        for tool in tools
    }
