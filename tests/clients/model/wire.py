"""A wire: how a family of programs asks its model, and how it wants to be answered."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.clients.model.script import Conversation, ToolCall

Event = tuple[str | None, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Wire:
    """The paths that belong to a wire, how its requests are read, and its answers whole and as a stream of events."""

    ends_with: str
    read: Callable[[Mapping[str, Any]], Conversation]
    whole: Callable[[ToolCall | str], Mapping[str, Any]]
    events: Callable[[ToolCall | str], Sequence[Event]]


def text_in(content: object) -> str:
    """Return all the text in a tool result, whatever form the client gave it."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def stream(events: Sequence[Event]) -> bytes:
    """Return the events as text/event-stream."""
    named = ((f"event: {name}\n" if name else "", json.dumps(data)) for name, data in events)
    return "".join(f"{head}data: {data}\n\n" for head, data in named).encode()
