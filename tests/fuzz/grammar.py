"""The grammar: requests that are right, nearly right, and nonsense, each grown from one number."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support.service import ERAS, MODERN, envelope

TOOLS = (
    "luma_get_tasks_batch",
    "luma_get_task",
    "luma_list_aspect_ratios",
    "luma_list_actions",
    "luma_generate_video",
    "luma_extend_video",
    "no_such_tool",
)
METHODS = (
    "tools/call",
    "tools/call",
    "tools/call",
    "tools/list",
    "initialize",
    "ping",
    "server/discover",
    "prompts/get",
    "resources/read",
    "completion/complete",
    "tasks/get",
    "tasks/cancel",
    "no/such/method",
    "notifications/cancelled",
)
NAMES = ("task_id", "task_ids", "prompt", "aspect_ratio", "idempotency_key", "loop", "video_id", "other")
PARAMETERS = ("name", "uri", "taskId", "ref", "_meta", "cursor", "argument", "arguments")
TEXTS = ("", " ", "a b", "\ud800", "\x00", "é" * 9, "x" * 200, "f-1", "16:9", "luma://tasks/f-1", "\u2028", "{}")
NUMBERS = (0, 1, -1, 10**20, 1.5, float("nan"), float("inf"), -0.0)
DEEPEST = 4


@dataclass(frozen=True)
class Request:
    """One request, as it is sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def grown(seed: int) -> Request:
    """Return the request that grows from `seed`: as an era's clients send it, and more often with one thing changed."""
    random = Random(seed)
    era, method = random.choice(ERAS), random.choice(METHODS)
    message, headers = envelope(method, _parameters(random, method), era)
    if era == MODERN and not _is_plain(headers.get("mcp-name", "")):
        del headers["mcp-name"]
    headers |= {"authorization": "Bearer fuzz", "content-type": "application/json", "accept": "application/json"}
    request = Request("POST", "/mcp", headers, json.dumps(message).encode())
    change = random.choice(_CHANGES)
    return change(random, message, request)


def _parameters(random: Random, method: str) -> dict[str, Any]:
    if method == "tools/call":
        return {"name": random.choice(TOOLS), "arguments": _arguments(random)}
    return {random.choice(PARAMETERS[:4]): random.choice(TEXTS) for _ in range(random.randrange(3))}


def _arguments(random: Random) -> Any:
    match random.randrange(4):
        case 0:
            return {"task_ids": [random.choice(TEXTS) for _ in range(random.randrange(5))]}
        case 1:
            return _value(random)
        case _:
            return {random.choice(NAMES): _value(random) for _ in range(random.randrange(4))}


def _value(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(7 if depth < DEEPEST else 4)
    match kind:
        case 0:
            return random.choice((None, True, False))
        case 1:
            return random.choice(NUMBERS)
        case 2 | 3:
            return random.choice(TEXTS)
        case 4:
            return [_value(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice((*NAMES, *PARAMETERS, *TEXTS)): _value(random, depth + 1) for _ in range(random.randrange(4))}


def _is_plain(name: Any) -> bool:
    return isinstance(name, str) and name.isascii() and name.isprintable() and name == name.strip()


def _with(request: Request, **parts: Any) -> Request:
    return Request(**(request.__dict__ | parts))


def _nothing(_random: Random, _message: dict[str, Any], request: Request) -> Request:
    return request


def _part(random: Random, message: dict[str, Any], request: Request) -> Request:
    part = random.choice(("id", "jsonrpc", "method", "params"))
    return _with(request, body=json.dumps({**message, part: _value(random)}).encode())


def _less(random: Random, message: dict[str, Any], request: Request) -> Request:
    left_out = random.choice(list(message))
    return _with(request, body=json.dumps({key: part for key, part in message.items() if key != left_out}).encode())


def _meta(random: Random, message: dict[str, Any], request: Request) -> Request:
    params = {**message["params"], "_meta": _value(random)}
    return _with(request, body=json.dumps({**message, "params": params}).encode())


def _nonsense(random: Random, _message: dict[str, Any], request: Request) -> Request:
    return _with(request, body=json.dumps(_value(random)).encode())


def _torn(random: Random, _message: dict[str, Any], request: Request) -> Request:
    return _with(request, body=request.body[: random.randrange(len(request.body))])


def _flipped(random: Random, _message: dict[str, Any], request: Request) -> Request:
    body = bytearray(request.body)
    for _ in range(random.randrange(1, 5)):
        body[random.randrange(len(body))] = random.randrange(256)
    return _with(request, body=bytes(body))


def _header(random: Random, _message: dict[str, Any], request: Request) -> Request:
    name = random.choice(list(request.headers))
    return _with(request, headers={**request.headers, name: ascii(_value(random))[:200]})


def _no_header(random: Random, _message: dict[str, Any], request: Request) -> Request:
    name = random.choice(list(request.headers))
    return _with(request, headers={key: kept for key, kept in request.headers.items() if key != name})


def _stream(random: Random, _message: dict[str, Any], request: Request) -> Request:
    accept = random.choice(("text/event-stream", "*/*", "application/json, text/event-stream"))
    return _with(request, headers={**request.headers, "accept": accept})


def _elsewhere(random: Random, _message: dict[str, Any], request: Request) -> Request:
    path = random.choice(("/", "/mcp/", "/livez", "/metrics", "/nothing", "/mcp?x=%00", "/mcp/%2e%2e"))
    return _with(request, method=random.choice(("POST", "GET", "DELETE", "PUT", "OPTIONS", "HEAD")), path=path)


_CHANGES: tuple[Callable[[Random, dict[str, Any], Request], Request], ...] = (
    _nothing, _nothing, _part, _less, _meta, _nonsense, _torn, _flipped, _header, _no_header, _stream, _elsewhere,
)  # fmt: skip
