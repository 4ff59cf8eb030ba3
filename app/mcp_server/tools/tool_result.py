"""What a call of a tool gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.task import NO_STATS, LookupStats
from app.mcp_server.tools.json_bytes import Json, to_json


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gives: words for the model and the typed result, both as JSON, and what the log tells of it.

    `seen` counts the tasks answered, by state; `started` is the task that the call has begun, where it did.
    """

    text: Json
    result: Json
    stats: LookupStats = NO_STATS
    seen: Mapping[str, Any] = field(default_factory=dict)
    started: str | None = None


def tool_result(text: str, result: Mapping[str, Any], **about: Any) -> ToolResult:
    """Return the answer that says `text` and `result`; `about` are the other fields of a ToolResult."""
    return ToolResult(to_json(text), to_json(result), **about)
