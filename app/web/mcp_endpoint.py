"""POST /mcp: one address for every protocol revision, answering plainly where nothing needs to be streamed."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.asgi import header, send_error, send_json
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.json_rpc import Refused, examine, in_our_words, refusal
from app.web.json_rpc_batch import BatchAnswer
from app.web.middleware.fair_scheduling import FairScheduler, caller_of
from app.web.middleware.request_memory import HELD

LARGEST_BODY_BYTES = 256 * 1024
MOST_DIGITS = len(str(LARGEST_BODY_BYTES))

_EITHER_FORM = (b"accept", b"application/json, text/event-stream")
_JSON = (b"content-type", b"application/json")
_VERSION = b"mcp-protocol-version"

_READ_BY_MCP = frozenset((b"last-event-id", b"user-agent"))
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
        self,
        server: Server[Any],
        scheduler: FairScheduler,
        refused: Callable[[int], None],
        streams: Callable[[bytes], bool] = wants_progress,
    ) -> None:
        """Serve `server`; `refused` is told the status of each request turned away before MCP.

        `scheduler` delays each message of a batch but the first, whose request was scheduled already.
        """
        self._scheduler = scheduler
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
        try:
            examined = examine(body, header(scope, b"mcp-protocol-version"))
        except Refused as exc:
            self._refused(400)
            await send_json(send, 400, refusal("invalid_request", str(exc), exc.code, **exc.data))
            return
        if len(examined.messages[0]) > LARGEST_BODY_BYTES:  # completed, or with numbers written at greater length
            await self._refuse_body(send)
            return
        del body  # it would be held for as long as the call waits
        if examined.is_batch:
            await self._answer_batch(scope, examined.messages, receive, send)
            return
        headers = _headers(scope, drops_version=examined.drops_version)
        answering, message = self._manager_for(scope, examined.messages[0]), examined.messages.pop()
        replayed = _replay(message, receive)
        del message
        disconnect = scope.get(DISCONNECT_SIGNAL) or DisconnectSignal()
        await disconnect.while_connected(answering, {**scope, "headers": headers}, replayed, _in_our_words(send))

    def _manager_for(self, scope: Scope, message: bytes) -> ASGIApp:
        """Return what answers with a stream where the client takes nothing else, or takes it and wants progress."""
        accept = (header(scope, b"accept") or "").lower()
        takes_json = "text/event-stream" not in accept or "application/json" in accept or "*/*" in accept
        streams = "text/event-stream" in accept and (not takes_json or self._streams(message))
        return self._streaming.handle_request if streams else self._plain.handle_request

    async def _answer_batch(self, scope: Scope, messages: list[bytes], receive: Receive, send: Send) -> None:
        """Answer each message in turn, and then all of them as one array; notifications have no answer."""
        caller, answers = caller_of(scope), BatchAnswer(scope[HELD])
        headers = _headers(scope, drops_version=False)
        disconnect = scope.get(DISCONNECT_SIGNAL) or DisconnectSignal()
        for number, message in enumerate(messages):
            if answers.is_full:
                answers.refuse(message)
                continue
            if number:
                await self._scheduler.turn(caller)  # the first one's has come already
            answers.next_is(message)
            replayed = _replay(message, receive)
            await disconnect.while_connected(
                self._plain.handle_request, {**scope, "headers": headers}, replayed, answers.collect
            )
        body = answers.body()
        await send_json(send, 200 if body else 202, body)

    async def _body(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """Return the whole body, or None where it was refused or its sender has left."""
        declared = header(scope, b"content-length") or ""
        digits = declared.lstrip("0")
        if digits.isdecimal() and (len(digits) > MOST_DIGITS or int(digits) > LARGEST_BODY_BYTES):
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
            has_more = message.get("more_body", False)
            del message  # it would hold the part until the next one comes
            if len(body) > LARGEST_BODY_BYTES:
                await self._refuse_body(send)
                return None
            if not has_more:
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
        await send_error(send, status, codes[status], message, *allow)


def _manager(server: Server[Any], *, json_response: bool) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        server,
        json_response=json_response,
        stateless=True,
        max_request_body_size=LARGEST_BODY_BYTES,
        # TrustedHostMiddleware checks hosts already. Set explicitly: the SDK builds its default anew for every request.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )


def _headers(scope: Scope, *, drops_version: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that MCP reads, without blanks around them; the token is not among them.

    The protocol's code copies all headers several times. httptools leaves the blanks on, which HTTP ignores. This
    endpoint decides by the client's Accept header, so the SDK is told that the client accepts either form.
    """
    headers = [
        (name, value.strip())
        for name, value in scope["headers"]
        if name in _READ_BY_MCP or (name.startswith(b"mcp-") and not (drops_version and name == _VERSION))
    ]
    return [*headers, _EITHER_FORM, _JSON]


def _in_our_words(send: Send) -> Send:
    """Return `send` that puts our sentences into the SDK's refusals, whose status is 400."""
    head: Message | None = None

    async def sending(message: Message) -> None:
        nonlocal head
        if message["type"] == "http.response.start" and message["status"] == 400:  # noqa: PLR2004 - the status itself
            head = message
        elif head is not None:
            body = in_our_words(message.get("body", b""))
            kept = [(name, value) for name, value in head["headers"] if name != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            await send({**head, "headers": [*kept, length]})
            await send({**message, "body": body})
            head = None
        else:
            await send(message)

    return sending


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body once more, then what really comes."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed
