"""POST /v1beta/models/{model}:generateContent and :streamGenerateContent."""

from collections.abc import Mapping
from typing import Any

from tests.clients.model.model_api import Event, ModelApi, text_in
from tests.clients.model.script import Conversation, ToolCall


def _parse_request(body: Mapping[str, Any]) -> Conversation:
    declared = [each for tool in body.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    tools = {each["name"]: each.get("parametersJsonSchema") or each.get("parameters") or {} for each in declared}
    parts = [part for content in body.get("contents", ()) for part in content.get("parts", ())]
    answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
    return Conversation(tools, [text_in(answer.get("response")) for answer in answers])


def _response(move: ToolCall | str) -> dict[str, Any]:
    if isinstance(move, str):
        part: dict[str, Any] = {"text": move}
    else:
        part = {"functionCall": {"id": f"call_{move.number}", "name": move.name, "args": move.arguments}}
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}


def _stream_events(move: ToolCall | str) -> list[Event]:
    return [(None, _response(move))]


GEMINI = ModelApi("enerateContent", _parse_request, _response, _stream_events)
