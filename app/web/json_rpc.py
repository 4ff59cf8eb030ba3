"""Checks JSON-RPC messages before the SDK reads them, and rewrites the SDK's error messages.

The SDK accepts some malformed messages silently, and refuses some valid messages of common clients. Its error messages
may quote a validator's text or the input.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from mcp_types import HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, UNSUPPORTED_PROTOCOL_VERSION

from app.mcp_server.protocol_versions import SUPPORTED_VERSIONS

BATCHES_VERSION = "2025-03-26"
"""The only protocol revision with batches. A request without a version header has this revision."""

MAX_IN_A_BATCH = 20

MAX_VALUES = 500
"""Limit of JSON values in a message, not counting a tool's arguments. Clients need some dozens.

The SDK validates each value against several models: 200 KB of `inputResponses` would take a second and 500 MB.
"""

MAX_RESPONSE_VALUES = 40
"""Limit of JSON values in `inputResponses`. Each takes 12 µs. This service asks one question at a time."""

_VERSION_IN_META = b"io.modelcontextprotocol/protocolVersion"
_PLAIN_ID = re.compile(rb'"id"\s{0,9}+:\s{0,9}+(?:"|-?\d{1,19}+\s{0,9}+[,}])')
_PLAIN_VERSION = re.compile(rb'"jsonrpc"\s{0,9}+:\s{0,9}+"2\.0"')
"""Without bounds and possessive quantifiers, a body of 250 KB of blanks takes 45 ms. Other spellings are parsed."""

_DECODER = json.JSONDecoder()
_NEXT_ELEMENT_OR_END = re.compile(r"[^\s,]")
"""Matches the first character of the next element of an array, or the bracket that closes the array."""
_NOT_JSON = "The request's body is not JSON. Send one JSON-RPC 2.0 message, encoded in UTF-8."
_NO_MESSAGE = (
    'This is no JSON-RPC 2.0 message. Send an object with "jsonrpc": "2.0", a "method", and an "id" that is a string '
    "or a whole number; leave the id out only in notifications."
)
_NO_BATCH = (
    f"Batches exist in protocol revision {BATCHES_VERSION} only, with 1 to {MAX_IN_A_BATCH} messages. Send one "
    "message a request."
)
_NO_PARAMS = 'The "params" of a message must be an object.'
_TOO_MANY_VALUES = (
    f"A message has at most {MAX_VALUES} values beside a tool's arguments, {MAX_RESPONSE_VALUES} of them in "
    "inputResponses. Send a smaller one."
)
_NO_VERSION = f"This protocol revision is not served. Served are {', '.join(SUPPORTED_VERSIONS)}."
_NO_ENVELOPE = (
    "The MCP-Protocol-Version header is that of 2026-07-28. A request of this revision repeats the version and the "
    "client's capabilities in params._meta, as io.modelcontextprotocol/protocolVersion, a string, and "
    "io.modelcontextprotocol/clientCapabilities, an object. Leave the header out to speak an earlier revision."
)
_REPEATED_IN_HEADERS = {
    "MCP-Protocol-Version": "io.modelcontextprotocol/protocolVersion in params._meta",
    "Mcp-Method": "the method of the body",
    "Mcp-Name": "params.name of tools/call and prompts/get, or params.uri of resources/read",
}
"""Headers of a request of 2026-07-28, each with the part of the body that it repeats."""


class InvalidBody(Exception):
    """A request body that is answered with HTTP 400 and a JSON-RPC error."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        """`code` is the JSON-RPC error code. `message` must not quote the body."""
        super().__init__(message)
        self.code = code
        self.data = data


@dataclass(frozen=True, slots=True)
class CheckedBody:
    """The checked messages of a body, as passed to the SDK.

    Attributes:
        messages: JSON-RPC messages as JSON. There is one, unless the body is a batch.
        drops_version: whether the SDK must not see the version header.

    """

    messages: list[bytes]
    is_batch: bool = False
    drops_version: bool = False


def check_body(body: bytes, version: str | None) -> CheckedBody:
    """Return the messages in the body of a request. `version` is its MCP-Protocol-Version header, or None.

    Raises InvalidBody if the body is not valid JSON-RPC. The SDK would treat a message with an invalid id as a
    notification, and answer 202 without a result.
    """
    if not body.lstrip().startswith(b"["):
        check_values(body)
    if _is_plain(body):
        _check_version(body, version)
        return CheckedBody([body])
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidBody(PARSE_ERROR, _NOT_JSON) from None
    if isinstance(content, list):
        return _checked_batch(content, body, version)
    _check_message(content)
    if content.get("method") == "initialize":
        # The version of an initialize request is negotiated, so an unknown one in the header is no error.
        return CheckedBody([_with_defaults(content)], drops_version=version not in (None, *SUPPORTED_VERSIONS))
    _check_version(body, version)
    return CheckedBody([body])


def check_values(body: bytes) -> None:
    """Raise InvalidBody if a message has more values than MAX_VALUES or MAX_RESPONSE_VALUES allow.

    `check_body` calls this for a single message. McpEndpoint calls it for each message of a batch.
    Commas and brackets are counted first, because parsing costs more. Nearly all bodies have few.
    """
    may_have_responses = b"inputResponses" in body or b"\\u" in body  # JSON may escape the letters of the name
    openings = body.count(b"{") + body.count(b"[")
    if body.count(b",") + 2 * openings <= (MAX_RESPONSE_VALUES if may_have_responses else MAX_VALUES):
        return
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidBody(PARSE_ERROR, _NOT_JSON) from None
    validated, responses = _costly_values(content)
    if _has_more_values(validated, MAX_VALUES) or _has_more_values(responses, MAX_RESPONSE_VALUES):
        raise InvalidBody(INVALID_REQUEST, _TOO_MANY_VALUES)


def _costly_values(message: Any) -> tuple[Any, Any]:
    """Return the part of a message that the SDK validates: all but a tool's arguments. Also return `inputResponses`."""
    params = message.get("params") if isinstance(message, dict) else None
    if not isinstance(params, dict):
        return message, None
    is_call = message.get("method") == "tools/call"
    validated_params = {name: value for name, value in params.items() if not (is_call and name == "arguments")}
    return {**message, "params": validated_params}, params.get("inputResponses")


def _has_more_values(value: Any, limit: int) -> bool:
    """Return whether a JSON value contains more than `limit` values, including itself. Member names do not count."""
    remaining, unvisited = limit, [value]
    while unvisited and remaining >= 0:
        part = unvisited.pop()
        remaining -= 1
        if isinstance(part, dict | list):
            if len(part) > remaining:
                return True
            unvisited += part.values() if isinstance(part, dict) else part
    return remaining < 0


def _is_plain(body: bytes) -> bool:
    """Return whether a body is one message, other than initialize, with a valid id: then only its version is checked.

    False means that the body must be parsed. Nearly all bodies are plain, and searching them costs less than parsing.
    """
    is_single = body.startswith(b"{") and body.count(b'"id"') == 1 and body.count(b'"jsonrpc"') == 1
    if not is_single or b'"method"' not in body or b'"initialize"' in body:
        return False
    return _PLAIN_ID.search(body) is not None and _PLAIN_VERSION.search(body) is not None


def _check_message(message: Any) -> None:
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise InvalidBody(INVALID_REQUEST, _NO_MESSAGE)
    message_id = message.get("id", "")
    if not isinstance(message_id, str) and type(message_id) is not int:
        raise InvalidBody(INVALID_REQUEST, _NO_MESSAGE)
    if not isinstance(message.get("method"), str) and not ("result" in message or "error" in message):
        raise InvalidBody(INVALID_REQUEST, _NO_MESSAGE)
    if not isinstance(message.get("params", {}), dict):
        raise InvalidBody(INVALID_PARAMS, _NO_PARAMS)


def _check_version(body: bytes, version: str | None) -> None:
    """Raise InvalidBody for an unknown version header.

    If the body names a version too, the check is left to the SDK, which compares the two.
    """
    if version not in (None, *SUPPORTED_VERSIONS) and _VERSION_IN_META not in body:
        raise InvalidBody(UNSUPPORTED_PROTOCOL_VERSION, _NO_VERSION, supported=list(SUPPORTED_VERSIONS))


def _checked_batch(messages: list[Any], body: bytes, version: str | None) -> CheckedBody:
    if version not in (None, BATCHES_VERSION) or not 0 < len(messages) <= MAX_IN_A_BATCH:
        raise InvalidBody(INVALID_REQUEST, _NO_BATCH)
    for message in messages:
        _check_message(message)
        if message.get("method") == "initialize":
            raise InvalidBody(INVALID_REQUEST, "initialize must not be part of a batch.")
    return CheckedBody(_elements(body), is_batch=True)


def _elements(body: bytes) -> list[bytes]:
    """Return the elements of a JSON array as they are written, because encoding them again could make them longer."""
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    elements, end = [], text.index("[") + 1
    while (begin := _NEXT_ELEMENT_OR_END.search(text, end)) is not None and begin[0] != "]":
        _, end = _DECODER.raw_decode(text, begin.start())
        elements.append(text[begin.start() : end].encode(errors="surrogatepass"))
    return elements


def _with_defaults(message: dict[str, Any]) -> bytes:
    """Return an initialize request with the parameters that the SDK requires and some clients leave out."""
    defaults = {"capabilities": {}, "clientInfo": {"name": "unknown", "version": "0"}}
    completed = {**message, "params": defaults | message.get("params", {})}
    try:
        return json.dumps(completed, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can express only as an escape
        return json.dumps(completed, separators=(",", ":")).encode()


def refusal(
    word: str, message: str, code: int = INVALID_REQUEST, *, request_id: str | int | None = None, **data: Any
) -> bytes:
    """Return a JSON-RPC error as JSON.

    `word` is a code for programs, in addition to the JSON-RPC `code`. `request_id` is None if the request was not
    parsed. `data` is added to the data of the error.
    """
    error = {"code": code, "message": message, "data": {"code": word, **data}}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode()


def rewrite_sdk_error(body: bytes, request: bytes = b"") -> bytes:
    """Return an error response of the SDK with a helpful message that quotes no input. Other bodies are unchanged.

    An error without an id gets the id of `request`, the JSON-RPC message that the SDK could not read.
    """
    try:
        response = json.loads(body)
        error = response["error"]
        code, message = error["code"], error["message"]
    except (ValueError, LookupError, TypeError):
        return body
    if code == UNSUPPORTED_PROTOCOL_VERSION:
        error |= {"message": _NO_VERSION, "data": {**error.get("data", {}), "supported": list(SUPPORTED_VERSIONS)}}
    elif code == PARSE_ERROR:
        error["message"] = _NOT_JSON
    elif code == HEADER_MISMATCH:
        error["message"] = _header_mismatch(message)
    elif message.startswith("params._meta "):
        error["message"] = _NO_ENVELOPE
    elif message.startswith("Validation error"):
        error["message"] = _NO_MESSAGE
    if response.get("id") is None and request:
        response["id"] = json.loads(request).get("id")
    return json.dumps(response).encode()


def _header_mismatch(message: str) -> str:
    """Return the sentence for a header that is missing, repeated or different; `message` begins with its name."""
    name = message.partition(" ")[0].lower()
    wrong = [header for header in _REPEATED_IN_HEADERS if header.lower() == name] or list(_REPEATED_IN_HEADERS)
    rules = "; ".join(f"{header} is {_REPEATED_IN_HEADERS[header]}" for header in wrong)
    return f"The headers of this request and its body do not agree. Send each header once, and as the body is: {rules}."
