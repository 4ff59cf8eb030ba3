"""The result of a tool call."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.task import NO_STATS, LookupStats
from app.mcp_server.tools.json_bytes import Json, to_json


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call.

    Attributes:
        text: the text for the model, as JSON.
        result: the structured content, as JSON.
        stats: the lookup statistics, for the log.
        seen: the number of tasks in the result, by state.
        started: the id of a task that the call started.

    """

    text: Json
    result: Json
    stats: LookupStats = NO_STATS
    seen: Mapping[str, Any] = field(default_factory=dict)
    started: str | None = None


def tool_result(text: str, result: Mapping[str, Any], **about: Any) -> ToolResult:
    """Encode `text` and `result`; `about` has the other fields of a ToolResult."""
    return ToolResult(to_json(text), to_json(result), **about)
