"""POST /v1/messages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.clients.model.model_api import Event, ModelApi, text_in
from tests.clients.model.script import Conversation, ToolCall


def _parse_request(body: Mapping[str, Any]) -> Conversation:
    tools = {tool["name"]: tool.get("input_schema", {}) for tool in body.get("tools", ())}
    blocks = [block for message in body.get("messages", ()) for block in _blocks(message["content"])]
    return Conversation(tools, [text_in(block.get("content")) for block in blocks if block["type"] == "tool_result"])


def _blocks(content: Any) -> Sequence[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _block(move: ToolCall | str) -> dict[str, Any]:
    if isinstance(move, str):
        return {"type": "text", "text": move}
    return {"type": "tool_use", "id": f"toolu_{move.number}", "name": move.name, "input": move.arguments}


def _response(move: ToolCall | str) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [_block(move)],
        "stop_reason": "end_turn" if isinstance(move, str) else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _stream_events(move: ToolCall | str) -> list[Event]:
    response, block = _response(move), _block(move)
    if isinstance(move, str):
        start, delta = {**block, "text": ""}, {"type": "text_delta", "text": move}
    else:
        start, delta = block | {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(move.arguments)}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**response, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": response["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    return [(event["type"], event) for event in events]


ANTHROPIC = ModelApi("/v1/messages", _parse_request, _response, _stream_events)
