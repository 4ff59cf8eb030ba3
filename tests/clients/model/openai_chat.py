"""POST /v1/chat/completions."""

import json
from collections.abc import Mapping
from typing import Any

from tests.clients.model.model_api import Event, ModelApi, text_in
from tests.clients.model.script import Conversation, ToolCall

_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _parse_request(body: Mapping[str, Any]) -> Conversation:
    functions = [tool["function"] for tool in body.get("tools", ())]
    results = [message["content"] for message in body.get("messages", ()) if message["role"] == "tool"]
    return Conversation({each["name"]: each.get("parameters", {}) for each in functions}, list(map(text_in, results)))


def _message(move: ToolCall | str) -> dict[str, Any]:
    if isinstance(move, str):
        return {"role": "assistant", "content": move}
    function = {"name": move.name, "arguments": json.dumps(move.arguments)}
    call = {"index": 0, "id": f"call_{move.number}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _reason(move: ToolCall | str) -> str:
    return "stop" if isinstance(move, str) else "tool_calls"


def _completion(kind: str, **choice: Any) -> dict[str, Any]:
    choices = [{"index": 0, **choice}]
    return {"id": "c_1", "object": kind, "created": 0, "model": "scripted", "choices": choices}


def _response(move: ToolCall | str) -> dict[str, Any]:
    answer = _completion("chat.completion", message=_message(move), finish_reason=_reason(move))
    return {**answer, "usage": _USAGE}


def _stream_events(move: ToolCall | str) -> list[Event]:
    kind = "chat.completion.chunk"
    return [
        (None, _completion(kind, delta=_message(move), finish_reason=None)),
        (None, {**_completion(kind, delta={}, finish_reason=_reason(move)), "usage": _USAGE}),
    ]


OPENAI_CHAT = ModelApi("/chat/completions", _parse_request, _response, _stream_events)
