"""Variants of JSON-RPC messages as real clients send them: those that are served, and the errors for the others."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.mcp_server.protocol_versions import SUPPORTED_VERSIONS
from app.web.json_rpc import MAX_IN_A_BATCH, MAX_VALUES
from tests.support.clock import HandClock
from tests.support.service import MODERN, Service, envelope, sandbox, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALL: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "luma_list_aspect_ratios", "arguments": {}},
}
INFO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INFO}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(), sandbox(clock), clock) as running:
        yield running


async def send(service: Service, message: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
    sent = {"authorization": "Bearer token-a", "content-type": "application/json", "accept": "application/json"}
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return await service.http.post(f"{service.url}/mcp", content=body, headers={**sent, **(headers or {})})


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/*", "Application/JSON", "text/html", "application/json, text/event-stream"]
)
async def test_an_accept_header_that_allows_json_gets_json(service: Service, accept: str) -> None:
    response = await send(service, CALL, {"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert "16:9" in response.text


async def test_a_client_that_accepts_only_event_streams_gets_a_stream(service: Service) -> None:
    response = await send(service, CALL, {"accept": "text/event-stream"})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "16:9" in response.text


async def test_the_content_type_is_read_in_any_case(service: Service) -> None:
    assert (await send(service, CALL, {"content-type": "Application/JSON; Charset=UTF-8"})).status_code == 200


@pytest.mark.parametrize("left_out", [(), ("clientInfo",), ("capabilities",), ("clientInfo", "capabilities")])
@pytest.mark.parametrize("version", [None, "2025-06-18", "2099-01-01"])
async def test_initialize_works_without_the_parameters_that_clients_leave_out(
    service: Service, left_out: tuple[str, ...], version: str | None
) -> None:
    params = {name: value for name, value in INFO.items() if name not in left_out}
    headers = {"mcp-protocol-version": version} if version else {}
    response = await send(service, {**INITIALIZE, "params": params}, headers)
    assert response.json()["result"]["serverInfo"]["name"] == "luma-mcp"


@pytest.mark.parametrize("number", [None, 1.0, 1.5, True, [], {}])
async def test_a_message_id_of_an_invalid_type_is_refused_with_an_error(service: Service, number: Any) -> None:
    response = await send(service, {**CALL, "id": number})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == -32600
    assert "whole number" in error["message"]


@pytest.mark.parametrize("number", ["x", "", -1, 0, 2**40])
async def test_a_valid_message_id_is_returned(service: Service, number: Any) -> None:
    assert (await send(service, {**CALL, "id": number})).json()["id"] == number


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"", -32700),
        (b"[" * 100_000, -32700),
        (b'"hunter2"', -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
        (b'{"id": 1, "method": "hunter2"}', -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "hunter2"}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "m", "params": ["hunter2"]}', -32600),
        (b'{"jsonrpc": "2.0", "method": "m", "params": ["hunter2"]}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "m", "params": ["hunter2"]}', -32602),
    ],
)
async def test_a_malformed_message_gets_the_services_own_error(service: Service, body: bytes, code: int) -> None:
    response = await send(service, body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code
    assert not any(word in response.text for word in ("hunter2", "pydantic", "https://", "validation", "Validation"))


@pytest.mark.parametrize("modern", [False, True])
async def test_an_unknown_revision_is_refused_with_all_that_are_served(service: Service, *, modern: bool) -> None:
    message, headers = envelope("tools/call", CALL["params"], MODERN) if modern else (CALL, {})
    if modern:
        message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2099-01-01"
    response = await send(service, message, {**headers, "mcp-protocol-version": "2099-01-01"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == -32022
    assert error["data"]["supported"] == list(SUPPORTED_VERSIONS)


async def test_discovery_lists_every_revision_that_is_served(service: Service) -> None:
    message, headers = envelope("server/discover", {}, MODERN)
    discovered = (await send(service, message, headers)).json()["result"]
    assert set(discovered["supportedVersions"]) == set(SUPPORTED_VERSIONS)


@pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
async def test_every_revision_that_is_listed_is_served(service: Service, version: str) -> None:
    message, headers = envelope("tools/call", CALL["params"], version)
    assert "16:9" in (await send(service, message, headers)).text


META = "io.modelcontextprotocol/"


@pytest.mark.parametrize(
    "meta",
    [
        None,
        "hunter2",
        {},
        {f"{META}protocolVersion": MODERN},
        {f"{META}clientCapabilities": {}, f"{META}hunter2": 1},
    ],
    ids=["none", "no object", "empty", "no capabilities", "no version"],
)
async def test_a_modern_request_with_an_incomplete_meta_is_told_what_is_needed(service: Service, meta: Any) -> None:
    message, headers = envelope("tools/call", CALL["params"], MODERN)
    message["params"]["_meta"] = meta
    response = await send(service, message, headers)
    assert response.status_code == 400
    assert (response.json()["id"], response.json()["error"]["code"]) == (1, -32602)
    sentence = response.json()["error"]["message"]
    assert f"{META}protocolVersion" in sentence
    assert f"{META}clientCapabilities" in sentence
    assert "MCP-Protocol-Version" in sentence
    assert not any(word in response.text for word in ("hunter2", "envelope"))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", "hunter2"),
        ("Mcp-Method", None),
        ("Mcp-Name", "hunter2"),
        ("Mcp-Name", None),
    ],
)
async def test_a_header_that_differs_from_the_body_is_named(service: Service, header: str, value: str | None) -> None:
    message, headers = envelope("tools/call", CALL["params"], MODERN)
    del headers[header.lower()]
    if header == "MCP-Protocol-Version":
        message["params"]["_meta"][f"{META}protocolVersion"] = "2099-hunter2"
    response = await send(service, message, {**headers, **({header: value} if value else {})})
    assert response.status_code == 400
    assert (response.json()["id"], response.json()["error"]["code"]) == (1, -32020)
    sentence = response.json()["error"]["message"]
    assert [name for name in ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name") if name in sentence] == [header]
    assert not any(word in response.text for word in ("hunter2", "envelope"))


async def test_a_header_that_comes_twice_is_named(service: Service) -> None:
    message, headers = envelope("tools/call", CALL["params"], MODERN)
    twice = [("authorization", "Bearer token-a"), *headers.items(), ("mcp-method", "hunter2")]
    response = await service.http.post(f"{service.url}/mcp", json=message, headers=twice)
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32020)
    assert "Mcp-Method" in response.json()["error"]["message"]


@pytest.mark.parametrize("version", [None, "2025-03-26"])
async def test_a_batch_is_answered_in_revision_2025_03_26(service: Service, version: str | None) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    messages = [CALL, note, {**CALL, "id": "two"}, {**CALL, "id": 3, "method": "no/such"}]
    response = await send(service, messages, {"mcp-protocol-version": version} if version else {})
    assert response.status_code == 200
    answers = response.json()
    assert [answer["id"] for answer in answers] == [1, "two", 3]
    assert "16:9" in json.dumps(answers[1])
    assert answers[2]["error"]["code"] == -32601


async def test_a_batch_with_any_unicode_text_is_answered(service: Service) -> None:
    foreign = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"x": "é" * 100_000}}
    body = json.dumps([foreign, CALL], ensure_ascii=False).encode()
    answers = (await send(service, body)).json()
    assert [answer["id"] for answer in answers] == [1, CALL["id"]]
    assert answers[0]["result"]["tools"]


@pytest.mark.parametrize(
    "params",
    ['{"x": "\\ud800"}', '{"x": ' + "[" * 900 + "]" * 900 + "}", '{"x": [0' + ", 0" * MAX_VALUES + "]}"],
    ids=["surrogate", "deep", "values"],
)
async def test_a_message_of_a_batch_that_cannot_be_read_is_refused_by_its_id(service: Service, params: str) -> None:
    message = f'{{"jsonrpc": "2.0", "id": "mine", "method": "tools/list", "params": {params}}}'
    answers = (await send(service, f"[{message}, {json.dumps(CALL)}]".encode())).json()
    assert [answer["id"] for answer in answers] == ["mine", CALL["id"]]
    assert answers[0]["error"]["code"] in (-32700, -32600, -32602)


async def test_an_initialize_that_grows_too_large_is_refused_in_json(service: Service) -> None:
    text = "é" * 120_000 + "\\ud800"  # with a lone surrogate, only escapes can express the text
    body = f'{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"2025-11-25","x":"{text}"}}}}'
    response = await send(service, body.encode())
    assert response.status_code == 413
    assert response.json()["error"]["data"]["code"] == "body_too_large"


async def test_a_batch_of_notifications_is_taken_without_a_body(service: Service) -> None:
    response = await send(service, [{"jsonrpc": "2.0", "method": "notifications/initialized"}])
    assert (response.status_code, response.content) == (202, b"")


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25", MODERN])
async def test_a_batch_is_refused_in_every_other_revision(service: Service, version: str) -> None:
    response = await send(service, [CALL], {"mcp-protocol-version": version})
    assert response.status_code == 400
    assert "Batches exist in protocol revision 2025-03-26 only" in response.json()["error"]["message"]


@pytest.mark.parametrize("messages", [[], [CALL] * (MAX_IN_A_BATCH + 1), [INITIALIZE, CALL], [CALL, "x"], [[CALL]]])
async def test_an_invalid_batch_is_refused_as_a_whole(service: Service, messages: list[Any]) -> None:
    response = await send(service, messages)
    assert response.status_code == 400
    assert "result" not in response.text


@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ({"authorization": ""}, 401, "unauthorized"),
        ({"host": "evil.example.com"}, 421, "misdirected_request"),
        ({"origin": "https://evil.example.com"}, 403, "forbidden_origin"),
        ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ],
)
async def test_a_refusal_before_mcp_is_a_json_rpc_error(
    service: Service, headers: dict[str, str], status: int, word: str
) -> None:
    response = await send(service, CALL, headers)
    assert response.status_code == status
    body = response.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", None)
    assert isinstance(body["error"]["code"], int)
    assert body["error"]["data"]["code"] == word
    assert len(body["error"]["message"]) > 20


async def test_a_body_that_is_too_large_is_a_json_rpc_error(service: Service) -> None:
    response = await send(service, b" " * 300_000)
    assert response.status_code == 413
    body = response.json()
    assert (body["jsonrpc"], body["id"], body["error"]["data"]["code"]) == ("2.0", None, "body_too_large")


@pytest.mark.parametrize("path", ["oauth-protected-resource", "oauth-authorization-server", "openid-configuration"])
@pytest.mark.parametrize("prefix", ["", "/mcp"])
async def test_oauth_discovery_gets_a_404_at_every_well_known_path(service: Service, prefix: str, path: str) -> None:
    for url in (f"{prefix}/.well-known/{path}", f"/.well-known/{path}{prefix}"):
        response = await service.http.get(service.url + url)
        assert response.status_code == 404
        assert "no OAuth sign-in" in response.json()["error"]["message"]
