"""Answers MCP requests with one JSON response each, and tool calls in the task of their request.

For each stateless request of a 2025 revision, the SDK's session manager starts a task, a dispatcher and three streams,
which takes longer than a cached batch of 50 tasks. A well-formed tool call needs none of them: it is passed to
`serve_one`, by which the SDK handles a single message of any revision. All other messages, and every call that has to
be refused, go to the session manager.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import modern_error_data, serve_one
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS, InboundModernRoute, classify_inbound_request
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import DEFAULT_NEGOTIATED_VERSION, JSONRPCRequest, RequestId
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from app.mcp_server.protocol_versions import LEGACY_VERSIONS
from app.web.asgi import replay, send_json

_VERSION = "mcp-protocol-version"
_RESPONSE_MEMBERS = frozenset(("result", "error"))
"""The session manager decides what a message is that has one of them and a method."""


class JsonExchange:
    """Answers one message with one JSON response. Messages that the server sends meanwhile are dropped.

    It is behind McpEndpoint, which has checked the method, the content type and the size of the body.
    """

    def __init__(self, server: Server[Any], manager: StreamableHTTPSessionManager) -> None:
        """Answer for `server`, which has no lifespan. `manager` answers what is not a well-formed tool call."""
        self._server = server
        self._manager = manager

    def running(self) -> AbstractAsyncContextManager[None]:
        """Serve requests while entered."""
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a message, whose whole body `receive` returns at once. The SDK gets all headers in `scope`."""
        body = (await receive())["body"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        has_repeated_header = len(headers) < len(scope["headers"])
        accepted = None if has_repeated_header else self._accept_call(body, headers)
        if accepted is None:
            await self._manager.handle_request(scope, replay(body, receive), send)
            return
        call, connection = accepted
        del body  # otherwise this frame keeps the body alive while the call waits
        context = _CallContext(call.id, headers, ServerMessageMetadata(request_context=Request(scope)))
        status = HTTPStatus.OK.value
        response: dict[str, Any] = {"jsonrpc": "2.0", "id": call.id}
        try:
            response["result"] = await serve_one(
                self._server, context, call.method, call.params, connection=connection, lifespan_state={}
            )
        except Exception as exc:  # noqa: BLE001 - the SDK logs what is not an error for the client
            error = modern_error_data(exc)
            response["error"] = error.model_dump(by_alias=True, exclude_unset=True)
            if connection.protocol_version in MODERN_PROTOCOL_VERSIONS:
                status = ERROR_CODE_HTTP_STATUS.get(error.code, status)
        await send_json(send, status, to_json(response))

    def _accept_call(self, body: bytes, headers: Mapping[str, str]) -> tuple[JSONRPCRequest, Connection] | None:
        """Return a tool call, and the SDK's connection for it; None if the session manager has to answer."""
        if (call := _read_call(body)) is None:
            return None
        version = headers.get(_VERSION, DEFAULT_NEGOTIATED_VERSION)
        if version in LEGACY_VERSIONS:
            return call, Connection.from_envelope(version, None, None)
        route = classify_inbound_request({"method": call.method, "params": call.params}, headers=headers)
        if not isinstance(route, InboundModernRoute) or self._may_mirror_arguments(call):
            return None
        return call, Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)

    def _may_mirror_arguments(self, call: JSONRPCRequest) -> bool:
        """Return whether the tool's schema may say that headers repeat arguments.

        Without `get_tool_input_schema`, the session manager looks for the schema in tools/list.
        """
        find_schema, name = self._server.get_tool_input_schema, (call.params or {}).get("name")
        return find_schema is None or (isinstance(name, str) and find_schema(name) is not None)


def _read_call(body: bytes) -> JSONRPCRequest | None:
    """Return the tool call that `body` is; None if it is another message or malformed."""
    try:
        content = from_json(body, cache_strings="keys")  # values may be secret, and the cache outlives the request
        if (
            not isinstance(content, dict)
            or content.get("method") != "tools/call"
            or not _RESPONSE_MEMBERS.isdisjoint(content)
        ):
            return None
        return JSONRPCRequest.model_validate(content, by_name=False)
    except ValueError:
        return None


@dataclass(slots=True)
class _CallContext:
    """The SDK's DispatchContext of a call that is answered with one JSON response: nothing else reaches its client."""

    request_id: RequestId
    headers: Mapping[str, str]
    message_metadata: ServerMessageMetadata
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)
    can_send_request: bool = False

    @property
    def transport(self) -> TransportContext:
        """Describe the transport."""
        return TransportContext(kind="streamable-http", can_send_request=False, headers=self.headers)

    async def send_raw_request(
        self, method: str, _params: Mapping[str, Any] | None, _opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Raise NoBackChannelError."""
        raise NoBackChannelError(method)

    async def notify(self, _method: str, _params: Mapping[str, Any] | None, _opts: CallOptions | None = None) -> None:
        """Drop a notification."""

    async def progress(self, _progress: float, _total: float | None = None, _message: str | None = None) -> None:
        """Drop a progress report."""
