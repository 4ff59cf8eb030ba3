"""Tool calls that are passed to the SDK directly: they are answered as the SDK's session manager answers them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams, ElicitRequestedSchema, ErrorData
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import ASGIApp, Message

from app.mcp_server.protocol_versions import LEGACY_VERSIONS, SUPPORTED_VERSIONS
from app.mcp_server.tools.call_handler import Context
from app.web.json_exchange import JsonExchange
from tests.support.service import MODERN, envelope

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, str, Any]
Handler = Callable[[Context, CallToolRequestParams], Awaitable[Any]]

ACCEPTED: Headers = [(b"accept", b"application/json, text/event-stream"), (b"content-type", b"application/json")]
CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "show"}}
MIRRORED: dict[str, Any] = {"mirror": {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}}}}
"""The schemas of tools whose arguments headers repeat."""

IDS: list[Any] = [0, -1, 10**30, "", "a", "\u00e9\n", None, 1.0, 1.5, True, [], {}]
PARAMS: list[Any] = [None, [], "show", {}, {"arguments": {}}]
NAMES: list[Any] = ["none", "", None, 1, [], "\u00e9"]
ARGUMENTS: list[Any] = [None, [], "a", {"a": [1.5, None, "\u00e9"]}]
METAS: list[Any] = [None, [], {}, {"progressToken": "a"}]
NOT_CALLS: list[bytes] = [
    b"",
    b"tools/call",
    b'"tools/call"',
    b"[]",
    b'{"method": "tools/call"}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "show"}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "show"}} and more',
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "\\ud800"}}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "\xff"}}',
    b"\xef\xbb\xbf" + json.dumps(CALL).encode(),
    json.dumps(CALL).encode("utf-16"),
]
MESSAGES: list[dict[str, Any]] = [
    *({**CALL, "id": message_id} for message_id in IDS),
    *({**CALL, "jsonrpc": version} for version in ("1.0", 2.0, None)),
    *({**CALL, "method": method} for method in ("tools/list", "tools/call ", "TOOLS/CALL", "ping", "", None, 1)),
    *({**CALL, "params": params} for params in PARAMS),
    *({**CALL, "params": {"name": name}} for name in NAMES),
    *({**CALL, "params": {"name": "show", "arguments": given}} for given in ARGUMENTS),
    *({**CALL, "params": {"name": "show", "_meta": meta}} for meta in METAS),
    *({**CALL, "params": {"name": name, "_meta": {"progressToken": 7}}} for name in ("report", "ask")),
    *({**CALL, "params": {"name": name}} for name in ("refuse", "give an error", "give nonsense")),
    {**CALL, "result": {}},
    {**CALL, "error": {"code": 1, "message": "a"}},
    {**CALL, "Method": "ping"},
    {name: value for name, value in CALL.items() if name != "id"},
    {"jsonrpc": "2.0", "id": 1, "result": {"method": "tools/call"}},
]  # fmt: skip


async def call_tool(ctx: Context, params: CallToolRequestParams) -> Any:
    """Answer with what a handler can see of a call, or misbehave as the name of the tool says."""
    client = ctx.session.client_params.client_info.name if ctx.session.client_params is not None else None
    if params.name == "refuse":
        raise MCPError(INVALID_PARAMS, "No.", {"why": "\u00e9"})
    if params.name == "fail":
        raise LookupError("a secret")
    if params.name == "give an error":
        return ErrorData(code=-32000, message="No.")
    if params.name == "give nonsense":
        return {"content": 5}
    if params.name == "report":
        await ctx.session.send_progress_notification(7, 1.0, 2.0, "half", related_request_id="1")
    if params.name == "ask":
        await ctx.session.elicit_form("Really?", ElicitRequestedSchema(type="object", properties={}), 1)
    seen = [params.name, params.arguments, ctx.meta, ctx.request_id, ctx.protocol_version, client]
    assert ctx.request is not None
    seen += sorted(ctx.request.headers.items())
    return {"content": [{"type": "text", "text": json.dumps(seen)}], "isError": False}


@asynccontextmanager
async def running(handler: Handler = call_tool) -> AsyncIterator[tuple[ASGIApp, ASGIApp]]:
    """Yield one server behind a JsonExchange, and behind the SDK's session manager alone."""
    server: Server[Any] = Server("test", get_tool_input_schema=MIRRORED.get)
    server.add_request_handler("tools/call", CallToolRequestParams, handler)
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True, security_settings=security)
    exchange = JsonExchange(server, manager)
    async with exchange.running():
        yield exchange, manager.handle_request


async def assert_equal_answers(body: bytes, headers: Headers) -> None:
    """Assert that the exchange answers as the session manager does."""
    async with running() as (exchange, manager):
        assert await answer(exchange, body, headers) == await answer(manager, body, headers)


async def answer(app: ASGIApp, body: bytes, headers: Headers) -> Answer:
    """Return the status, the content type and the parsed body of an answer."""
    sent: list[Message] = []
    received: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return received.pop() if received else await asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": [*headers, *ACCEPTED]}
    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent[1:])
    media_type = dict(sent[0]["headers"]).get(b"content-type", b"").decode()
    return sent[0]["status"], media_type, json.loads(content) if content else None


def encoded(message: dict[str, Any], era: str) -> tuple[bytes, Headers]:
    """Return a message as a client of the revision `era` sends it, and its headers."""
    headers, params = {"mcp-protocol-version": era}, message.get("params")
    if era == MODERN and isinstance(params, dict) and isinstance(params.get("_meta", {}), dict):
        completed, headers = envelope(message["method"], params, era)
        message = {**message, "params": completed["params"]}
    return json.dumps(message).encode(), [(name.encode(), str(value).encode()) for name, value in headers.items()]


@pytest.mark.parametrize("era", SUPPORTED_VERSIONS)
@pytest.mark.parametrize("number", range(len(MESSAGES)))
async def test_any_message_is_answered_as_by_the_session_manager(number: int, era: str) -> None:
    await assert_equal_answers(*encoded(MESSAGES[number], era))


@pytest.mark.parametrize("era", SUPPORTED_VERSIONS)
@pytest.mark.parametrize("body", NOT_CALLS)
async def test_a_body_that_is_no_call_is_answered_as_by_the_session_manager(body: bytes, era: str) -> None:
    await assert_equal_answers(body, [(b"mcp-protocol-version", era.encode())])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        *([(b"mcp-protocol-version", version.encode())] for version in HANDSHAKE_PROTOCOL_VERSIONS),
        [(b"mcp-protocol-version", b"")],
        [(b"mcp-protocol-version", b"2099-01-01")],
        [(b"mcp-protocol-version", b" 2025-11-25")],
        [(b"mcp-protocol-version", b"\xe9")],
        [(b"mcp-protocol-version", b"2025-06-18"), (b"mcp-protocol-version", b"2026-07-28")],
        [(b"mcp-protocol-version", b"2025-11-25"), (b"mcp-method", b"ping"), (b"mcp-name", b"none")],
        [(b"mcp-protocol-version", b"2025-11-25"), (b"mcp-session-id", b"a")],
        [(b"mcp-protocol-version", b"2025-11-25"), (b"user-agent", b"\xe9"), (b"last-event-id", b"a")],
    ],
)
@pytest.mark.parametrize("name", ["show", "refuse", "give nonsense"])
async def test_any_headers_of_a_plain_call_are_treated_as_by_the_session_manager(headers: Headers, name: str) -> None:
    await assert_equal_answers(json.dumps({**CALL, "params": {"name": name}}).encode(), headers)


@pytest.mark.parametrize(
    "changed",
    [
        {"mcp-protocol-version": None},
        {"mcp-protocol-version": b"2025-11-25"},
        {"mcp-protocol-version": b"2099-01-01"},
        {"mcp-method": None},
        {"mcp-method": b"tools/list"},
        {"mcp-method": b"TOOLS/CALL"},
        {"mcp-name": None},
        {"mcp-name": b"refuse"},
        {"mcp-name": b"=?base64?c2hvdw==?="},
        {"mcp-name": b"=?base64?!?="},
        {"mcp-param-name": b"show"},
        {"mcp-session-id": b"a"},
    ],
)
async def test_any_headers_of_a_modern_call_are_treated_as_by_the_session_manager(
    changed: dict[str, bytes | None],
) -> None:
    body, headers = encoded(CALL, MODERN)
    fields = {**{name.decode(): value for name, value in headers}, **changed}
    await assert_equal_answers(body, [(name.encode(), value) for name, value in fields.items() if value])


@pytest.mark.parametrize("headers", [[], [(b"mcp-param-a", b"x")], [(b"mcp-param-a", b"y")]])
@pytest.mark.parametrize("era", SUPPORTED_VERSIONS)
async def test_headers_that_repeat_arguments_are_treated_as_by_the_session_manager(headers: Headers, era: str) -> None:
    body, sent = encoded({**CALL, "params": {"name": "mirror", "arguments": {"a": "x"}}}, era)
    await assert_equal_answers(body, [*sent, *headers])


@pytest.mark.parametrize("name", ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-a", "user-agent"])
async def test_a_header_that_is_sent_twice_is_treated_as_by_the_session_manager(name: str) -> None:
    body, headers = encoded(CALL, MODERN)
    twice = (name.encode(), dict(headers).get(name.encode(), b"a"))
    await assert_equal_answers(body, [*headers, twice, twice])


@pytest.mark.parametrize(
    "meta",
    [
        {"io.modelcontextprotocol/clientInfo": None},
        {"io.modelcontextprotocol/clientInfo": {"name": 5}},
        {"io.modelcontextprotocol/clientCapabilities": None},
        {"io.modelcontextprotocol/clientCapabilities": []},
        {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}},
        {"io.modelcontextprotocol/protocolVersion": None},
        {"io.modelcontextprotocol/protocolVersion": 2026},
        {"io.modelcontextprotocol/protocolVersion": "2025-11-25"},
        {"io.modelcontextprotocol/logLevel": "loud"},
        {"progressToken": True},
    ],
)
async def test_any_envelope_is_treated_as_by_the_session_manager(meta: dict[str, Any]) -> None:
    body, headers = encoded({**CALL, "params": {"name": "show", "_meta": meta}}, MODERN)
    await assert_equal_answers(body, headers)


@pytest.mark.parametrize("era", SUPPORTED_VERSIONS)
async def test_an_unexpected_exception_says_nothing_to_the_client(era: str) -> None:
    async with running() as (exchange, _):
        _, media_type, content = await answer(exchange, *encoded({**CALL, "params": {"name": "fail"}}, era))
    assert media_type == "application/json"
    assert content["error"] == {"code": INTERNAL_ERROR, "message": "Internal server error"}


@pytest.mark.parametrize("era", [*LEGACY_VERSIONS, MODERN])
async def test_a_call_is_handled_in_the_task_of_its_request(era: str) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def remember(_ctx: Context, _params: CallToolRequestParams) -> dict[str, Any]:
        tasks.append(asyncio.current_task())
        return {"content": []}

    async with running(remember) as (exchange, _):
        await answer(exchange, *encoded(CALL, era))
    assert tasks == [asyncio.current_task()]
