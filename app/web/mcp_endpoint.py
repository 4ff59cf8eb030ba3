"""POST /mcp: the MCP endpoint for every protocol revision. It answers with JSON unless an event stream is needed."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import LumaError
from app.ports.auth import Caller
from app.web.asgi import header, replay, send_error, send_json
from app.web.auth.scope_guard import ScopeGuard
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.json_exchange import JsonExchange
from app.web.json_rpc import CheckedBody, InvalidBody, check_body, check_values, refusal, rewrite_sdk_error
from app.web.json_rpc_batch import BatchResponse
from app.web.middleware.bearer_auth import CALLER
from app.web.middleware.fair_scheduling import FairScheduler, client_key_of
from app.web.middleware.request_memory import REQUEST_MEMORY, RequestMemory
from app.web.tool_filter import READ_ONLY_HEADER, READ_ONLY_KEY, TOOLS_HEADER

MAX_BODY_BYTES = 256 * 1024
ACCESS_CHANGED = "The token of this batch is no longer accepted, or its access has changed. Send this message alone."
TOO_LARGE = f"The request's body is larger than {MAX_BODY_BYTES} bytes. Split it into several requests."
MAX_DIGITS = len(str(MAX_BODY_BYTES))
"""A Content-Length with more digits is too large. It is not converted, because `int` refuses very long numbers."""

_ACCEPT = (b"accept", b"application/json, text/event-stream")
_CONTENT_TYPE = (b"content-type", b"application/json")
_VERSION = b"mcp-protocol-version"

_PASSED_HEADERS = frozenset((b"last-event-id", b"user-agent", READ_ONLY_HEADER, TOOLS_HEADER))
"""Headers that the SDK or its handlers read, in addition to those whose names begin with mcp-."""


def wants_progress(body: bytes) -> bool:
    """Return whether a request carries a progress token. Its progress notifications need an event stream."""
    if b'"progressToken"' in body:
        return True
    return b"\\u00" in body and _has_escaped_token(body)  # JSON may escape the letters of the name


def _has_escaped_token(body: bytes) -> bool:
    try:
        message = json.loads(body)
        return "progressToken" in message["params"]["_meta"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return False


class McpEndpoint:
    """Answers each request with JSON, by a JsonExchange, or with an event stream, by a session manager of the SDK.

    The streaming manager refuses clients that accept JSON only. JSON drops progress notifications, and costs less. A
    request is streamed if its client accepts a stream and `needs_stream` returns True for it, or if its client accepts
    nothing else.
    """

    def __init__(
        self,
        server: Server[Any],
        scheduler: FairScheduler,
        on_refusal: Callable[[int], None],
        needs_stream: Callable[[bytes], bool] = wants_progress,
        guard: ScopeGuard | None = None,
    ) -> None:
        """Serve `server`. `on_refusal` receives the status of each request that is refused before the SDK reads it.

        `scheduler` schedules the messages of a batch, except the first, which was scheduled with the request.
        `needs_stream` receives a request's body. `guard` refuses messages beyond the scopes of their caller; None
        refuses none.
        """
        self._scheduler = scheduler
        self._json = JsonExchange(server, _manager(server, json_response=True))
        self._streaming = _manager(server, json_response=False)
        self._on_refusal = on_refusal
        self._guard = guard
        self._needs_stream = needs_stream

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve requests while entered."""
        async with self._json.running(), self._streaming.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            await self._refuse(send, 405, "This endpoint accepts POST only: it has no sessions and no GET stream.")
            return
        if not (header(scope, b"content-type") or "").lower().startswith("application/json"):
            await self._refuse(send, 415, "Send JSON, with the header `Content-Type: application/json`.")
            return
        body = await self._body(scope, receive, send)
        if body is None:
            return
        try:
            checked = check_body(body, header(scope, b"mcp-protocol-version"))
        except InvalidBody as exc:
            self._on_refusal(400)
            await send_json(send, 400, refusal("invalid_request", str(exc), exc.code, **exc.data))
            return
        if len(checked.messages[0]) > MAX_BODY_BYTES:  # check_body may lengthen a message that it encodes again
            await self._refuse_large_body(send)
            return
        del body  # otherwise this frame keeps the body alive while the call waits
        if checked.is_batch:
            await self._answer_batch(scope, checked.messages, receive, send)
        elif self._guard is None or await self._guard.check(
            scope[CALLER], checked.messages[0], send, is_read_only=READ_ONLY_KEY in scope
        ):
            await self._answer(scope, checked, receive, send)

    async def _answer(self, scope: Scope, checked: CheckedBody, receive: Receive, send: Send) -> None:
        """Pass a single message to the SDK. It is removed from `checked`, so that its memory can be freed early."""
        headers = _sdk_headers(scope, drops_version=checked.drops_version)
        app, message = self._app_for(scope, checked.messages[0]), checked.messages.pop()
        replayed = replay(message, receive)
        del message
        disconnect = scope.get(DISCONNECT_SIGNAL) or DisconnectSignal()
        await disconnect.while_connected(app, {**scope, "headers": headers}, replayed, _rewriting_errors(send))

    def _app_for(self, scope: Scope, message: bytes) -> ASGIApp:
        """Return the ASGI app that answers `message`. Count the memory of a stream."""
        accept = (header(scope, b"accept") or "").lower()
        accepts_json = "text/event-stream" not in accept or "application/json" in accept or "*/*" in accept
        is_streamed = "text/event-stream" in accept and (not accepts_json or self._needs_stream(message))
        if not is_streamed:
            return self._json
        memory: RequestMemory | None = scope.get(REQUEST_MEMORY)
        if memory is not None:
            memory.take_stream()
        return self._streaming.handle_request

    async def _answer_batch(self, scope: Scope, messages: list[bytes], receive: Receive, send: Send) -> None:
        """Process the messages one after another. Send their responses as one array, or 202 if there are none."""
        client_key, responses = client_key_of(scope), BatchResponse(scope[REQUEST_MEMORY])
        headers = _sdk_headers(scope, drops_version=False)
        disconnect = scope.get(DISCONNECT_SIGNAL) or DisconnectSignal()
        for index, message in enumerate(messages):
            if responses.is_full:
                responses.refuse(message)
                continue
            if index:
                await self._scheduler.wait_to_start(client_key)  # the first message was scheduled with the request
                if not await _may_go_on(scope[CALLER]):
                    responses.refuse(message, "unauthorized", ACCESS_CHANGED)
                    continue
            if len(message) > MAX_BODY_BYTES:  # check_body may lengthen a message that it encodes again
                responses.refuse(message, "body_too_large", TOO_LARGE)
                continue
            try:
                check_values(message)
            except InvalidBody as exc:
                responses.refuse(message, "invalid_request", str(exc))
                continue
            responses.begin(message)
            replayed = replay(message, receive)
            await disconnect.while_connected(self._json, {**scope, "headers": headers}, replayed, responses.collect)
        body = responses.body()
        await send_json(send, 200 if body else 202, body)

    async def _body(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """Return the whole body; None if it was refused with 413 or the client disconnected."""
        declared = header(scope, b"content-length") or ""
        digits = declared.lstrip("0")
        if digits.isdecimal() and (len(digits) > MAX_DIGITS or int(digits) > MAX_BODY_BYTES):
            await self._refuse_large_body(send)
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
            del message  # otherwise it keeps this part alive until the next part arrives
            if len(body) > MAX_BODY_BYTES:
                await self._refuse_large_body(send)
                return None
            if not has_more:
                return bytes(body)

    async def _refuse_large_body(self, send: Send) -> None:
        await self._refuse(send, 413, TOO_LARGE)

    async def _refuse(self, send: Send, status: int, message: str) -> None:
        self._on_refusal(status)
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
        max_request_body_size=MAX_BODY_BYTES,
        # TrustedHostMiddleware checks hosts. With None, the SDK would build its default for every request.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )


async def _may_go_on(caller: Caller) -> bool:
    """Return whether the caller's next message of a batch may be processed.

    The token may have ended meanwhile, because earlier messages may have waited. Also return False if the token
    cannot be checked.
    """
    try:
        return await caller.has_unchanged_access()
    except LumaError:
        return False


def _sdk_headers(scope: Scope, *, drops_version: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that the SDK gets, without the whitespace that httptools leaves around values.

    The SDK copies headers several times, so it gets only those that are read; the token is not among them. This
    endpoint evaluates the Accept header itself, so the SDK gets one that accepts both JSON and streams.
    """
    headers = [
        (name, value.strip())
        for name, value in scope["headers"]
        if name in _PASSED_HEADERS or (name.startswith(b"mcp-") and not (drops_version and name == _VERSION))
    ]
    return [*headers, _ACCEPT, _CONTENT_TYPE]


def _rewriting_errors(send: Send) -> Send:
    """Return a `send` that rewrites the SDK's error responses, whose status is 400."""
    head: Message | None = None

    async def rewriting(message: Message) -> None:
        nonlocal head
        if message["type"] == "http.response.start" and message["status"] == 400:  # noqa: PLR2004 - the status itself
            head = message
        elif head is not None:
            body = rewrite_sdk_error(message.get("body", b""))
            other_headers = [(name, value) for name, value in head["headers"] if name != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            await send({**head, "headers": [*other_headers, length]})
            await send({**message, "body": body})
            head = None
        else:
            await send(message)

    return rewriting
