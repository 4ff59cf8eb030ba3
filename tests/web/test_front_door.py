"""Checks of HTTP requests to /mcp: host, origin, token, method, size, content type, and the kind of response."""

import json
import logging
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
import pytest_asyncio

from app.web.mcp_endpoint import MAX_BODY_BYTES
from tests.support.clock import HandClock
from tests.support.service import ERAS, LEGACY, MODERN, Service, envelope, sandbox, serving, settings

CALL = ("tools/call", {"name": "luma_list_actions", "arguments": {}})


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(public_url="https://luma.example.com"), sandbox(clock), clock) as running:
        yield running


async def send_with_headers(
    service: Service, headers: Mapping[str, str | bytes], method: str = "POST"
) -> httpx.Response:
    message, fitting = envelope(*CALL, MODERN)
    request = service.http.build_request(method, f"{service.url}/mcp", json=message, headers=fitting)
    raw = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers.items()]
    request.headers = httpx.Headers([*((k, v) for k, v in request.headers.raw if k.lower() not in dict(raw)), *raw])
    return await service.http.send(request)


@pytest.mark.parametrize(
    "authorization",
    [None, b"", "Bearer", "Basic dXNlcjpwYXNz", "token-a", "Bearer two words", b"Bearer sp\xe9cial", "B" * 9000],
)
async def test_without_a_well_formed_token_the_answer_says_what_to_send(
    service: Service, authorization: str | bytes | None
) -> None:
    response = await send_with_headers(service, {} if authorization is None else {"authorization": authorization})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith('Bearer realm="luma-mcp"')
    assert "Authorization: Bearer <token>" in response.json()["error"]["message"]


@pytest.mark.parametrize("authorization", ["Bearer token-a", "bearer token-a", "BEARER   token-a"])
async def test_the_bearer_scheme_is_case_insensitive(service: Service, authorization: str) -> None:
    assert (await send_with_headers(service, {"authorization": authorization})).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "HEAD"])
async def test_other_methods_are_405_inside_the_auth_layer(service: Service, method: str) -> None:
    assert (await send_with_headers(service, {}, method)).status_code == 401
    response = await send_with_headers(service, {"authorization": "Bearer token-a"}, method)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


async def test_unknown_hosts_are_refused_and_a_burst_is_logged_once(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    hosts = ["evil.example.com", "evil.example.com:443", "localhost.evil.com", "127.0.0.1.evil.com"]
    async with serving(settings(), sandbox(clock), clock) as service:
        with caplog.at_level(logging.WARNING):
            for host in hosts:
                response = await send_with_headers(service, {"authorization": "Bearer token-a", "host": host})
                assert response.status_code == 421
    assert hosts[0] in caplog.text
    assert caplog.text.count("LUMA_MCP_ALLOWED_HOSTS") == 1


@pytest.mark.parametrize(
    "host", ["luma.example.com", "LUMA.example.com", "localhost", "localhost:9", "[::1]:8000", "127.0.0.1"]
)
async def test_allowed_hosts_and_the_public_host_are_served(service: Service, host: str) -> None:
    assert (await send_with_headers(service, {"authorization": "Bearer token-a", "host": host})).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://luma.example.com", 200),
        ("http://localhost:6274", 200),
        ("https://evil.example.com", 403),
        ("http://luma.example.com", 403),
        ("http://localhost.evil.com:80", 403),
        ("null", 403),
    ],
)
async def test_browser_pages_are_answered_by_origin(service: Service, origin: str, status: int) -> None:
    response = await send_with_headers(service, {"authorization": "Bearer token-a", "origin": origin})
    assert response.status_code == status


async def test_a_burst_of_refused_origins_is_logged_once(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        with caplog.at_level(logging.WARNING):
            for number in range(5):
                origin = f"https://{number}.{'a' * 300}.example.com"
                response = await send_with_headers(service, {"authorization": "Bearer token-a", "origin": origin})
                assert response.status_code == 403
        page = (await service.http.get(f"{service.url}/metrics")).text
    assert caplog.text.count("LUMA_MCP_ALLOWED_ORIGINS") == 1
    assert "a" * 201 not in caplog.text
    assert 'luma_mcp_http_refusals_total{status="403"} 5.0' in page


async def test_a_preflight_is_answered_without_a_token_for_allowed_origins_only(service: Service) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,mcp-method"}
    allowed = await send_with_headers(service, {"origin": "http://localhost:6274", **asked}, "OPTIONS")
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:6274"
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    refused = await send_with_headers(service, {"origin": "https://evil.example.com", **asked}, "OPTIONS")
    assert refused.status_code == 403


async def test_a_body_over_the_limit_is_413_with_and_without_a_content_length(service: Service) -> None:
    body = b" " * MAX_BODY_BYTES + b"{}"
    headers = {"authorization": "Bearer token-a", "content-type": "application/json"}

    async def in_parts() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    for content in (body, in_parts()):
        response = await service.http.post(f"{service.url}/mcp", content=content, headers=headers)
        assert response.status_code == 413
        assert "larger than" in response.json()["error"]["message"]


async def test_a_content_type_other_than_json_is_415(service: Service) -> None:
    headers = {"authorization": "Bearer token-a", "content-type": "text/plain"}
    response = await service.http.post(f"{service.url}/mcp", content=b"{}", headers=headers)
    assert response.status_code == 415


@pytest.mark.parametrize("accept", ["application/json", "*/*", None, "application/json, text/event-stream"])
@pytest.mark.parametrize("era", ERAS)
async def test_plain_answers_are_json_for_every_client(service: Service, era: str, accept: str | None) -> None:
    message, headers = envelope(*CALL, era)
    request = service.http.build_request("POST", f"{service.url}/mcp", json=message, headers=headers)
    request.headers["authorization"] = "Bearer token-a"
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept
    response = await service.http.send(request)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("era", LEGACY)
async def test_a_request_with_a_progress_token_is_a_stream_where_the_client_accepts_one(
    service: Service, era: str
) -> None:
    message, headers = envelope(*CALL, era)
    message["params"]["_meta"] = {"progressToken": "p"}
    both = await service.post(message, headers={**headers, "accept": "application/json, text/event-stream"})
    assert both.headers["content-type"].startswith("text/event-stream")
    plain = await service.post(message, headers={**headers, "accept": "application/json"})
    assert plain.headers["content-type"] == "application/json"


async def test_no_session_and_no_initialize_are_needed(service: Service) -> None:
    response = await service.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert len(response.json()["result"]["tools"]) == 10
    assert "mcp-session-id" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/register",
        "/authorize",
        "/token",
    ],
)
async def test_oauth_discovery_gets_a_404(service: Service, path: str) -> None:
    response = await service.http.get(service.url + path)
    assert response.status_code == 404
    assert "no OAuth sign-in" in response.json()["error"]["message"]


async def test_every_answer_of_the_endpoint_carries_a_request_id(service: Service) -> None:
    given = await send_with_headers(service, {"authorization": "Bearer token-a", "x-request-id": "proxy-17"})
    assert given.headers["x-request-id"] == "proxy-17"
    for bad in ("a b", "x" * 65, ""):
        made = await send_with_headers(service, {"x-request-id": bad})
        assert made.status_code == 401
        assert len(made.headers["x-request-id"]) == 16


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_invalid_params(service: Service, era: str) -> None:
    answer = await service.request("tools/call", {"name": "luma_make_coffee", "arguments": {}}, era=era)
    assert answer["error"]["code"] == -32602
    assert "luma_get_task" in answer["error"]["message"]


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_prompt_is_invalid_params(service: Service, era: str) -> None:
    answer = await service.request("prompts/get", {"name": "luma_poem"}, era=era)
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'"x"', b"null", b"\xff\xfe", b"[" * 5000, b"1" * 5000])
@pytest.mark.parametrize("era", ["2025-11-25", MODERN])
async def test_malformed_bodies_are_a_client_error(service: Service, body: bytes, era: str) -> None:
    headers = {"authorization": "Bearer token-a", "content-type": "application/json", "mcp-protocol-version": era}
    response = await service.http.post(f"{service.url}/mcp", content=body, headers=headers)
    assert 400 <= response.status_code < 500
    assert json.loads(response.content)["error"]
