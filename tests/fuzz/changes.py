"""Mutations of a valid request: in its JSON-RPC message, its JSON, its bytes, or its headers."""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from tests.fuzz.request import Request

Odd = Callable[[Random], Any]
Change = Callable[[Random, dict[str, Any], Request, Odd], Request]

TOO_LARGE_BYTES = 300_000


def changed(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    """Return the request with one random mutation, and with no expected response id.

    `message` is the decoded body, and `odd` returns a random value.
    """
    return replace(random.choices(_CHANGES, _WEIGHTS)[0](random, message, request, odd), id=None)


def _body(request: Request, message: Any) -> Request:
    return replace(request, body=json.dumps(message).encode())


def _part(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    return _body(request, {**message, random.choice(("id", "jsonrpc", "method", "params")): odd(random)})


def _less(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    left_out = random.choice(list(message))
    return _body(request, {key: part for key, part in message.items() if key != left_out})


def _inside(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    """Replace a random part of the parameters, at any depth, by a random value."""
    spoilt = json.loads(json.dumps(message))
    place = spoilt["params"]
    while True:
        at = random.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not place[at] or not isinstance(place[at], dict | list) or random.random() < 0.3:
            place[at] = odd(random)
            return _body(request, spoilt)
        place = place[at]


def _meta(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    return _body(request, {**message, "params": {**message["params"], "_meta": odd(random)}})


def _more(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    params = {**message["params"], random.choice(("cursor", "other", "\ud800", "__class__")): odd(random)}
    return _body(request, {**message, "params": params})


def _nonsense(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    return _body(request, odd(random))


def _nested(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    depth, (start, end) = random.choice((100, 1_000, 60_000)), random.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return replace(request, body=(start * depth + b"1" + end * depth)[:TOO_LARGE_BYTES])


def _large(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    return replace(request, body=request.body + b" " * TOO_LARGE_BYTES)


def _torn(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    return replace(request, body=request.body[: random.randrange(len(request.body))])


def _flipped(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    body = bytearray(request.body)
    for _ in range(random.randrange(1, 5)):
        body[random.randrange(len(body))] = random.randrange(256)
    return replace(request, body=bytes(body))


def _encoded(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    text = request.body.decode()
    return replace(request, body=random.choice((text.encode("utf-16"), b"\xef\xbb\xbf" + request.body)))


def _header(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    name = random.choice((*request.headers, "origin", "x-request-id", "last-event-id", "mcp-session-id", "user-agent"))
    value = random.choice((ascii(odd(random))[:200], "", "=?base64?!?=", "http://127.0.0.1:1", "é"))
    return replace(request, headers={**request.headers, name: value})


def _no_header(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    name = random.choice(list(request.headers))
    return replace(request, headers={key: kept for key, kept in request.headers.items() if key != name})


def _accept(random: Random, message: dict[str, Any], request: Request, odd: Odd) -> Request:
    accept = random.choice(("text/event-stream", "application/xml", "", "application/json;q=0, */*"))
    return replace(request, headers={**request.headers, "accept": accept})


_CHANGES: tuple[Change, ...] = (
    _part, _less, _inside, _meta, _more, _nonsense, _torn, _flipped, _header, _no_header, _accept, _encoded,
    _nested, _large,
)  # fmt: skip
_WEIGHTS = (6, 6, 18, 4, 4, 6, 6, 8, 8, 6, 4, 2, 0.5, 0.2)
