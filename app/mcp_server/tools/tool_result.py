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
        state_counts: the number of tasks in the result, by state, for the log.
        started: the id of the task that the call started, or None.
        is_refused: whether limits of this service or of the backend refused the call for each of its tasks.

    """

    text: Json
    result: Json
    stats: LookupStats = NO_STATS
    state_counts: Mapping[str, Any] = field(default_factory=dict)
    started: str | None = None
    is_refused: bool = False


def tool_result(text: str, result: Mapping[str, Any], **fields: Any) -> ToolResult:
    """Return a ToolResult with `text` and `result` encoded as JSON. `fields` are its other fields."""
    return ToolResult(to_json(text), to_json(result), **fields)
