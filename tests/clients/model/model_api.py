"""The request and response formats of one model API, such as Anthropic Messages or OpenAI Chat Completions."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.clients.model.script import Conversation, ToolCall

Event = tuple[str | None, Mapping[str, Any]]
"""A server-sent event: its name, and its data. The name is None if the API does not name its events."""


@dataclass(frozen=True, slots=True)
class ModelApi:
    """A model API.

    Attributes:
        path_suffix: the end of the paths of its requests.
        parse_request: returns the conversation in the body of a request.
        response: returns the body of the response with a move of the model: a tool call, or text.
        stream_events: returns the events of the same response as a stream.

    """

    path_suffix: str
    parse_request: Callable[[Mapping[str, Any]], Conversation]
    response: Callable[[ToolCall | str], Mapping[str, Any]]
    stream_events: Callable[[ToolCall | str], Sequence[Event]]


def text_in(content: object) -> str:
    """Return all the text in a tool result, whatever form the client gave it."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def stream(events: Sequence[Event]) -> bytes:
    """Return the events as text/event-stream."""
    named = ((f"event: {name}\n" if name else "", json.dumps(data)) for name, data in events)
    return "".join(f"{head}data: {data}\n\n" for head, data in named).encode()
