"""POST /mcp: one address for every protocol revision, answering plainly where nothing needs to be streamed."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import Message, Receive, Scope, Send

from app.web.departures import DEPARTURE, Departure
from app.web.guards import answer, header

LARGEST_BODY_BYTES = 256 * 1024

_ANYTHING = (b"accept", b"*/*")

_READ_BY_MCP = frozenset((b"accept", b"content-type", b"last-event-id", b"user-agent"))
"""Headers that the protocol's own code, or a tool, looks at, beside those of MCP itself."""


def wants_progress(body: bytes) -> bool:
    """Return whether a request may be answered with more than its answer: it carries a progress token."""
    if b'"progressToken"' in body:
        return True
    return b"\\u00" in body and _has_escaped_token(body)  # JSON may write the letters of a name as escapes


def _has_escaped_token(body: bytes) -> bool:
    try:
        message = json.loads(body)
        return "progressToken" in message["params"]["_meta"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return False


class McpEndpoint:
    """Hands each request to one of two session managers over one server: plain JSON, or a stream of events.

    The SDK's streaming manager refuses clients that accept JSON only, and its JSON manager drops progress; a stream
    also costs more than a plain answer. So a request is streamed if its client accepts that and `streams` says so.
    """

    def __init__(
        self, server: Server[Any], refused: Callable[[int], None], streams: Callable[[bytes], bool] = wants_progress
    ) -> None:
        """Serve `server`; `refused` is told the status of each request turned away before MCP."""
        self._plain = _manager(server, json_response=True)
        self._streaming = _manager(server, json_response=False)
        self._refused = refused
        self._streams = streams

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve requests while entered."""
        async with self._plain.run(), self._streaming.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            await self._refuse(
                send, 405, "This endpoint takes POST: there are no sessions and no standing streams here."
            )
            return
        if not (header(scope, b"content-type") or "").lower().startswith("application/json"):
            await self._refuse(send, 415, "Send JSON, with the header `Content-Type: application/json`.")
            return
        body = await self._body(scope, receive, send)
        if body is None:
            return
        accept = header(scope, b"accept")
        if accept and "text/event-stream" in accept and self._streams(body):
            answering = self._streaming.handle_request
        else:
            answering = self._plain.handle_request
        replayed = _replay(body, receive)
        del body  # it would be held for as long as the call waits
        departure = scope.get(DEPARTURE) or Departure()
        await departure.while_connected(answering, _tidy(scope, accept), replayed, send)

    async def _body(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """Return the whole body, or None where it was refused or its sender has left."""
        declared = header(scope, b"content-length") or ""
        if declared.isdecimal() and int(declared) > LARGEST_BODY_BYTES:
            await self._refuse_body(send)
            return None
        return await self._collect(receive, send)

    async def _collect(self, receive: Receive, send: Send) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > LARGEST_BODY_BYTES:
                await self._refuse_body(send)
                return None
            if not message.get("more_body", False):
                return bytes(body)

    async def _refuse_body(self, send: Send) -> None:
        await self._refuse(send, 413, f"The request's body is larger than {LARGEST_BODY_BYTES} bytes. Ask in parts.")

    async def _refuse(self, send: Send, status: int, message: str) -> None:
        self._refused(status)
        codes = {
            405: "method_not_allowed",
            413: "body_too_large",
            415: "unsupported_media_type",
        }
        allow = ((b"allow", b"POST"),) if status == 405 else ()  # noqa: PLR2004 - the status itself
        await answer(send, status, codes[status], message, *allow)


def _manager(server: Server[Any], *, json_response: bool) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        server,
        json_response=json_response,
        stateless=True,
        max_request_body_size=LARGEST_BODY_BYTES,
        # The HostGuard stands in front; said outright, because the SDK makes its default anew for every request.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )


def _tidy(scope: Scope, accept: str | None) -> Scope:
    """Return the scope with the headers that MCP reads, without blanks around them; the token is not among them.

    The protocol's code copies all headers several times. httptools leaves the blanks on, which HTTP ignores. A request
    without an Accept header accepts anything.
    """
    headers = [
        (name, value.strip()) for name, value in scope["headers"] if name in _READ_BY_MCP or name.startswith(b"mcp-")
    ]
    if accept is None:
        headers.append(_ANYTHING)
    return {**scope, "headers": headers}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body once more, then what really comes."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed
