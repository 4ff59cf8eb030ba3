"""POST /v1/chat/completions."""

import json
from collections.abc import Mapping
from typing import Any

from tests.clients.model.script import Conversation, ToolCall
from tests.clients.model.wire import Event, Wire, text_in

_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _read(body: Mapping[str, Any]) -> Conversation:
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


def _whole(move: ToolCall | str) -> dict[str, Any]:
    answer = _completion("chat.completion", message=_message(move), finish_reason=_reason(move))
    return {**answer, "usage": _USAGE}


def _events(move: ToolCall | str) -> list[Event]:
    kind = "chat.completion.chunk"
    return [
        (None, _completion(kind, delta=_message(move), finish_reason=None)),
        (None, {**_completion(kind, delta={}, finish_reason=_reason(move)), "usage": _USAGE}),
    ]


OPENAI_CHAT = Wire("/chat/completions", _read, _whole, _events)
