"""JSON-RPC messages before and behind the SDK: what it would not notice or take, and its refusals in our sentences."""

import json
import re
from dataclasses import dataclass
from typing import Any

from mcp_types import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, UNSUPPORTED_PROTOCOL_VERSION

from app.mcp_server.protocol_versions import SUPPORTED_VERSIONS

BATCHES_VERSION = "2025-03-26"
"""The only revision with batches, and the one that a request without a version header speaks."""

MOST_IN_A_BATCH = 20

_VERSION_IN_META = b"io.modelcontextprotocol/protocolVersion"
_PLAIN_ID = re.compile(rb'"id"\s*:\s*(?:"|-?\d+\s*[,}])')
_PLAIN_VERSION = re.compile(rb'"jsonrpc"\s*:\s*"2\.0"')
_DECODER = json.JSONDecoder()
_NOT_BETWEEN = re.compile(r"[^\s,]")
_NOT_JSON = "The request's body is not JSON. Send one JSON-RPC 2.0 message, encoded in UTF-8."
_NO_MESSAGE = (
    'This is no JSON-RPC 2.0 message. Send an object with "jsonrpc": "2.0", a "method", and an "id" that is a string '
    "or a whole number; leave the id out only in notifications."
)
_NO_BATCH = (
    f"Batches exist in protocol revision {BATCHES_VERSION} only, with 1 to {MOST_IN_A_BATCH} messages. Send one "
    "message a request."
)
_NO_PARAMS = 'The "params" of a message must be an object.'
_NO_VERSION = f"This protocol revision is not served. Served are {', '.join(SUPPORTED_VERSIONS)}."
_NO_ENVELOPE = (
    "This request's MCP-Protocol-Version header and its body do not agree. A request of 2026-07-28 repeats the version "
    "and the client's capabilities in params._meta; leave the header out to speak an earlier revision."
)


class Refused(Exception):
    """A body that is answered with HTTP 400 and a JSON-RPC error, without the SDK."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        """Answer with the JSON-RPC error `code`; `message` is ours and repeats nothing of the body."""
        super().__init__(message)
        self.code = code
        self.data = data


@dataclass(frozen=True, slots=True)
class Examined:
    """A body as the SDK is to read it: one message, or several of a batch. `drops_version` leaves the header out."""

    messages: list[bytes]
    is_batch: bool = False
    drops_version: bool = False


def examine(body: bytes, version: str | None) -> Examined:
    """Return the messages in `body` of a request with this version header. Raises Refused.

    The SDK takes a message with an odd id for a notification, which it answers with 202 and silence.
    """
    if _is_usual(body):
        _check_version(body, version)
        return Examined([body])
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(PARSE_ERROR, _NOT_JSON) from None
    if isinstance(content, list):
        return _batch(content, body, version)
    _check(content)
    if content.get("method") == "initialize":
        return Examined([_completed(content)], drops_version=version not in (None, *SUPPORTED_VERSIONS))
    _check_version(body, version)
    return Examined([body])


def _is_usual(body: bytes) -> bool:
    """Return whether a body is one message with a plain id, as nearly all are, without reading the whole of it."""
    is_one = body.startswith(b"{") and body.count(b'"id"') == 1 and body.count(b'"jsonrpc"') == 1
    is_plain = _PLAIN_ID.search(body) is not None and _PLAIN_VERSION.search(body) is not None
    return is_one and is_plain and b'"method"' in body and b'"initialize"' not in body


def _check(message: Any) -> None:
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Refused(INVALID_REQUEST, _NO_MESSAGE)
    number = message.get("id", "")
    if not isinstance(number, str) and type(number) is not int:
        raise Refused(INVALID_REQUEST, _NO_MESSAGE)
    if not isinstance(message.get("method"), str) and not ("result" in message or "error" in message):
        raise Refused(INVALID_REQUEST, _NO_MESSAGE)
    if not isinstance(message.get("params", {}), dict):
        raise Refused(INVALID_PARAMS, _NO_PARAMS)


def _check_version(body: bytes, version: str | None) -> None:
    """Refuse a version header of no revision; where the body names the version too, the SDK compares the two."""
    if version not in (None, *SUPPORTED_VERSIONS) and _VERSION_IN_META not in body:
        raise Refused(UNSUPPORTED_PROTOCOL_VERSION, _NO_VERSION, supported=list(SUPPORTED_VERSIONS))


def _batch(messages: list[Any], body: bytes, version: str | None) -> Examined:
    if version not in (None, BATCHES_VERSION) or not 0 < len(messages) <= MOST_IN_A_BATCH:
        raise Refused(INVALID_REQUEST, _NO_BATCH)
    for message in messages:
        _check(message)
        if message.get("method") == "initialize":
            raise Refused(INVALID_REQUEST, "initialize must not be part of a batch.")
    return Examined(_elements(body), is_batch=True)


def _elements(body: bytes) -> list[bytes]:
    """Return the elements of a JSON array as they are written: written anew, they could be several times as long."""
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    elements, end = [], text.index("[") + 1
    while (begin := _NOT_BETWEEN.search(text, end)) is not None and begin[0] != "]":
        _, end = _DECODER.raw_decode(text, begin.start())
        elements.append(text[begin.start() : end].encode(errors="surrogatepass"))
    return elements


def _completed(message: dict[str, Any]) -> bytes:
    """Return an initialize request with what some clients leave out: this service asks for none of it."""
    left_out = {"capabilities": {}, "clientInfo": {"name": "unknown", "version": "0"}}
    completed = {**message, "params": left_out | message.get("params", {})}
    try:
        return json.dumps(completed, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can write
        return json.dumps(completed, separators=(",", ":")).encode()


def refusal(
    word: str, message: str, code: int = INVALID_REQUEST, *, request_id: str | int | None = None, **data: Any
) -> bytes:
    """Return the JSON-RPC error of a request that was turned away; without an id where it was not read."""
    error = {"code": code, "message": message, "data": {"code": word, **data}}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode()


def in_our_words(body: bytes, request: bytes = b"") -> bytes:
    """Return a refusal of the SDK's with a sentence of ours, where its own shows a validator's text or input.

    One without an id gets the id of `request`, which the SDK could not read.
    """
    try:
        answer = json.loads(body)
        error = answer["error"]
        code, message = error["code"], error["message"]
    except (ValueError, LookupError, TypeError):
        return body
    if code == UNSUPPORTED_PROTOCOL_VERSION:
        error |= {"message": _NO_VERSION, "data": {**error.get("data", {}), "supported": list(SUPPORTED_VERSIONS)}}
    elif code == PARSE_ERROR:
        error["message"] = _NOT_JSON
    elif "_meta must be" in message:
        error["message"] = _NO_ENVELOPE
    elif message.startswith("Validation error"):
        error["message"] = _NO_MESSAGE
    if answer.get("id") is None and request:
        answer["id"] = json.loads(request).get("id")
    return json.dumps(answer).encode()
