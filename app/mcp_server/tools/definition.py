"""The definition of a tool, as data. `bind` connects it to its handler, which is a method of another object."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_types import Tool, ToolAnnotations

from app.domain.access import Scope
from app.mcp_server.tools.arguments import Arguments
from app.mcp_server.tools.schemas import input_schema, output_schema
from app.mcp_server.tools.tool_filter import ALL_TOOLS, ToolFilter
from app.mcp_server.tools.tool_result import ToolResult
from app.ports.auth import Caller

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
STATIC = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
BILLABLE = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)
"""READ_ONLY tools read from the backend, STATIC tools do not call the backend, and BILLABLE tools may spend money."""

Progress = Callable[[float, float, str], Awaitable[None]]
"""Sends a progress notification: progress, total, message. Does nothing unless the client asked for progress."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a multi-round-trip request (MCP 2026-07-28), in which a result may be a question to the user.

    Attributes:
        can_ask: whether the client supports questions to its user (elicitation).
        responses: the client's responses to the questions of the previous round, by name.
        state: the state that the previous round gave to the client; None in the first round.

    """

    can_ask: bool = False
    responses: Mapping[str, Any] = field(default_factory=dict)
    state: str | None = None


FIRST_ROUND = Round()


class InputNeeded(Exception):
    """The call needs the user's response to a question before it can continue."""

    def __init__(self, name: str, question: Mapping[str, Any], state: str) -> None:
        """`question` is an elicitation request, whose response is named `name`. The client returns `state` with it."""
        super().__init__(name)
        self.name = name
        self.question = question
        self.state = state


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        request_id: the id of the call in the log.
        round: the current round, with the responses to questions of the previous one.
        tool_filter: the tools that the client's configuration leaves out.

    """

    caller: Caller
    progress: Progress
    request_id: str
    round: Round = FIRST_ROUND
    tool_filter: ToolFilter = ALL_TOOLS


Handler = Callable[[Call, Any], Awaitable[ToolResult]]
"""Handles the calls of one tool. Receives the call and the arguments, of the tool's type. Raises LumaError."""


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
        """Whether a call may spend money."""
        return self.annotations == BILLABLE

    def published(self, *, with_confirm: bool = False) -> Tool:
        """Return the tool as tools/list shows it.

        `with_confirm` adds the argument `confirm`, for callers whose team requires it for costly generations.
        """
        return Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            annotations=self.annotations,
            input_schema=input_schema(self.arguments, with_confirm=with_confirm),
            output_schema=output_schema(self.result),
        )


@dataclass(frozen=True, slots=True)
class BoundTool:
    """A tool with its handler, and without the parts that only tools/list needs."""

    name: str
    scope: Scope
    is_billable: bool
    arguments: type[Arguments]
    handle: Handler


def bind(tools: Sequence[LumaTool], handlers: Mapping[str, Handler]) -> dict[str, BoundTool]:
    """Return the bound tools by name, in the order of `tools`. Raises ValueError if tools and handlers do not match."""
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
