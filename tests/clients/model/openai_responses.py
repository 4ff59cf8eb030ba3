"""POST /v1/responses."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.clients.model.model_api import Event, ModelApi, text_in
from tests.clients.model.script import Conversation, ToolCall

SEPARATOR = "\n"
"""Between the name of a namespace and that of a tool in it, in the names that the script sees."""


def _parse_request(body: Mapping[str, Any]) -> Conversation:
    items = body.get("input", ())
    items = items if isinstance(items, list) else []
    results = [text_in(item["output"]) for item in items if item.get("type") == "function_call_output"]
    return Conversation(dict(_tools(body.get("tools", ()))), results)


def _tools(tools: Sequence[Mapping[str, Any]], space: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for tool in tools:
        if tool.get("type") == "namespace":
            yield from _tools(tool["tools"], f"{tool['name']}{SEPARATOR}")
        elif tool.get("type") == "function":
            yield f"{space}{tool['name']}", tool.get("parameters", {})


def _item(move: ToolCall | str) -> dict[str, Any]:
    if isinstance(move, str):
        content = [{"type": "output_text", "text": move, "annotations": []}]
        return {"type": "message", "id": "m_1", "role": "assistant", "status": "completed", "content": content}
    space, _, name = move.name.rpartition(SEPARATOR)
    call = {"type": "function_call", "id": f"fc_{move.number}", "call_id": f"call_{move.number}", "name": name}
    return {**call, **({"namespace": space} if space else {}), "arguments": json.dumps(move.arguments)}


def _response(move: ToolCall | str) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    return {"id": "r_1", "object": "response", "status": "completed", "output": [_item(move)], "usage": usage}


def _stream_events(move: ToolCall | str) -> list[Event]:
    response = _response(move)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": _item(move)},
        {"type": "response.output_item.done", "output_index": 0, "item": _item(move)},
        {"type": "response.completed", "response": response},
    ]
    return [(event["type"], event) for event in events]


OPENAI_RESPONSES = ModelApi("/responses", _parse_request, _response, _stream_events)
