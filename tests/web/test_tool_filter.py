"""Tools left out by scope, path and headers: they are neither listed nor can they be called."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from app.ports.auth import Caller
from app.web.tool_filter import MAX_HEADER_LENGTH, tool_filter_of
from tests.support.callers import caller
from tests.support.clock import HandClock
from tests.support.service import ERAS, MODERN, Service, envelope, sandbox, serving, settings
from tests.web.test_scopes import ScopeAuthenticator

pytestmark = pytest.mark.asyncio(loop_scope="module")

BILLABLE = [
    "luma_generate_video",
    "luma_generate_video_from_image",
    "luma_extend_video",
    "luma_extend_video_from_url",
]
FREE = [
    "luma_get_tasks_batch",
    "luma_get_task",
    "luma_list_tasks",
    "luma_get_usage",
    "luma_list_aspect_ratios",
    "luma_list_actions",
]
EVERY = [*FREE[:4], *BILLABLE, *FREE[4:]]
GENERATE: dict[str, Any] = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}}
PUBLIC_URL = "https://example.com/luma"


class NamedAuthenticator(ScopeAuthenticator):
    """An Authenticator whose tokens `both` and `asks` may read and generate, beside a token for each scope alone.

    The team of `asks` asks before a generation.
    """

    async def authenticate(self, token: str) -> Caller | None:
        if token == "both":
            return caller(self.hash_token(token), token)
        if token == "asks":
            asking = caller(self.hash_token(token), token)
            return replace(asking, principal=replace(asking.principal, asks_above=1))
        return await super().authenticate(token)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(public_url=PUBLIC_URL), sandbox(clock), clock, NamedAuthenticator()) as running:
        yield running


async def ask(  # noqa: PLR0913 - a request varies in all of these
    service: Service,
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    path: str = "/mcp",
    headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
    token: str = "both",
    era: str = MODERN,
) -> dict[str, Any]:
    message, fixed = envelope(method, params or {}, era)
    sent = [*fixed.items(), ("authorization", f"Bearer {token}"), ("accept", "application/json")]
    sent += headers if isinstance(headers, list) else (headers or {}).items()
    response = await service.http.post(f"{service.url}{path}", json=message, headers=sent)
    answer: dict[str, Any] = response.json()
    return answer


async def shown(service: Service, **how: Any) -> list[str]:
    return [tool["name"] for tool in (await ask(service, "tools/list", **how))["result"]["tools"]]


@pytest.mark.parametrize("era", ERAS)
async def test_all_tools_are_listed_for_a_caller_with_all_scopes(service: Service, era: str) -> None:
    assert await shown(service, era=era) == EVERY
    assert await shown(service, era=era, headers={"x-mcp-readonly": "false"}) == EVERY


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "how",
    [
        {"path": "/mcp/readonly"},
        {"path": "/mcp/readonly/"},
        {"path": "/luma/mcp/readonly"},
        {"headers": {"X-MCP-Readonly": "true"}},
        {"headers": {"x-mcp-readonly": "TRUE"}},
        {"headers": {"X-MCP-Readonly": "1"}},
        {"headers": {"X-MCP-Readonly": "ture"}},
        {"path": "/mcp/readonly", "headers": {"X-MCP-Readonly": "false"}},
        {"headers": [("X-MCP-Readonly", "true"), ("X-MCP-Readonly", "false")]},
        {"token": "read"},
    ],
)
async def test_billable_tools_are_hidden_and_refused_on_a_read_only_connection(
    service: Service, era: str, how: dict[str, Any]
) -> None:
    assert await shown(service, era=era, **how) == FREE
    result = (await ask(service, "tools/call", GENERATE, era=era, **how))["result"]
    assert result["isError"] is True
    assert result["structuredContent"]["result"]["error"]["code"] == "forbidden"
    ratios = {"name": "luma_list_aspect_ratios", "arguments": {}}
    assert (await ask(service, "tools/call", ratios, era=era, **how))["result"]["isError"] is False


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        ("luma_get_task,luma_generate_video", ["luma_get_task", "luma_generate_video"]),
        ("luma_generate_video , luma_get_task,", ["luma_get_task", "luma_generate_video"]),
        ("luma_get_task,no_such_tool", ["luma_get_task"]),
        ("no_such_tool", []),
        ("", []),
        ("LUMA_GET_TASK", []),
        ("*", []),
    ],
)
async def test_the_tools_header_keeps_only_the_named_tools(service: Service, listed: str, left: list[str]) -> None:
    for era in ERAS:
        assert await shown(service, era=era, headers={"X-MCP-Tools": listed}) == left


async def test_headers_path_and_scopes_narrow_together_and_never_widen(service: Service) -> None:
    two = {"X-MCP-Tools": "luma_get_task,luma_generate_video"}
    assert await shown(service, path="/mcp/readonly", headers=two) == ["luma_get_task"]
    assert await shown(service, token="read", headers=two) == ["luma_get_task"]
    assert await shown(service, token="generate", headers=two) == ["luma_generate_video"]
    assert await shown(service, token="generate") == BILLABLE
    assert await shown(service, token="admin") == []
    repeated = [("X-MCP-Tools", "luma_get_task,luma_list_tasks"), ("X-MCP-Tools", "luma_list_tasks,luma_list_actions")]
    assert await shown(service, headers=repeated) == ["luma_list_tasks"]


async def test_a_hidden_tool_is_refused_before_anything_is_sent(service: Service) -> None:
    sent = {"X-MCP-Tools": "luma_get_task"}
    for name in ("luma_list_actions", "luma_generate_video"):
        result = (await ask(service, "tools/call", {**GENERATE, "name": name}, headers=sent))["result"]
        error = result["structuredContent"]["result"]["error"]
        assert (error["code"], "leave out this tool" in error["message"]) == ("forbidden", True)
    assert (await service.ask("luma_list_tasks", {}, token="both"))["tasks"] == []


async def test_the_error_for_an_unknown_tool_names_the_visible_tools(service: Service) -> None:
    unknown = {"name": "luma_paint", "arguments": {}}
    answer = await ask(service, "tools/call", unknown, headers={"X-MCP-Tools": "luma_get_task"})
    assert answer["error"]["code"] == -32602
    assert "luma_get_task." in answer["error"]["message"]
    assert "luma_generate" not in answer["error"]["message"]


async def test_the_list_of_actions_follows_the_list_of_tools(service: Service) -> None:
    actions = {"name": "luma_list_actions", "arguments": {}}
    ways: list[tuple[dict[str, Any], list[str]]] = [({"path": "/mcp/readonly"}, FREE), ({"token": "read"}, FREE)]
    for how, left in [*ways, ({}, EVERY)]:
        result = (await ask(service, "tools/call", actions, **how))["result"]["structuredContent"]["result"]
        assert {action["tool"] for action in result["actions"]} == set(left)


async def test_a_tool_list_is_private_to_the_caller_and_stable(service: Service) -> None:
    ways: list[dict[str, Any]] = [{}, {"path": "/mcp/readonly"}, {"headers": {"X-MCP-Tools": "luma_get_task"}}]
    for how in ways:
        first, again = [(await ask(service, "tools/list", **how))["result"] for _ in range(2)]
        assert first == again
        assert first["cacheScope"] == "private"
        assert first["ttlMs"] > 0
    legacy = (await ask(service, "tools/list", era=ERAS[0]))["result"]
    assert "cacheScope" not in legacy


async def test_the_argument_confirm_is_listed_if_the_team_has_generations_confirmed(service: Service) -> None:
    for token, has_it in (("asks", True), ("both", False)):
        tools = (await ask(service, "tools/list", token=token))["result"]["tools"]
        shown_by = {tool["name"] for tool in tools if "confirm" in tool["inputSchema"]["properties"]}
        assert shown_by == (set(BILLABLE) if has_it else set())


@pytest.mark.parametrize("method", ["resources/templates/list", "prompts/list", "server/discover"])
async def test_prompts_and_resources_are_not_narrowed(service: Service, method: str) -> None:
    narrowed = {"X-MCP-Tools": "", "X-MCP-Readonly": "true"}
    plain = (await ask(service, method))["result"]
    assert (await ask(service, method, path="/mcp/readonly", headers=narrowed))["result"] == plain


async def test_the_read_only_path_behaves_like_the_main_path(service: Service) -> None:
    for method in ("GET", "DELETE", "PUT"):
        authorised = {"authorization": "Bearer both"}
        there, here = [
            await service.http.request(method, f"{service.url}{path}", headers=authorised)
            for path in ("/mcp", "/mcp/readonly")
        ]
        assert (here.status_code, here.json()) == (there.status_code, there.json())
    refused = await service.http.post(f"{service.url}/mcp/readonly", json={})
    assert refused.status_code == 401
    assert (await service.http.post(f"{service.url}/mcp/readonlyx", json={})).status_code == 404


async def test_cors_allows_the_headers_of_the_tool_filter(service: Service) -> None:
    asked = {
        "origin": "http://localhost:6274",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-mcp-readonly,x-mcp-tools",
    }
    for path in ("/mcp", "/mcp/readonly"):
        response = await service.http.options(f"{service.url}{path}", headers=asked)
        allowed = response.headers["access-control-allow-headers"]
        assert response.status_code == 200
        assert all(name in allowed for name in ("x-mcp-readonly", "x-mcp-tools"))


async def test_each_message_of_a_batch_is_narrowed(service: Service) -> None:
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": GENERATE},
    ]
    sent = {"authorization": "Bearer both", "accept": "application/json"}
    response = await service.http.post(f"{service.url}/mcp/readonly", json=messages, headers=sent)
    listed, called = response.json()
    assert [tool["name"] for tool in listed["result"]["tools"]] == FREE
    assert called["result"]["isError"] is True


async def test_a_tools_header_over_the_limit_is_cut() -> None:
    names = ",".join(["x" * 63] * 64 + ["luma_get_task"]).encode()
    assert len(names) > MAX_HEADER_LENGTH
    tool_filter = tool_filter_of([(b"x-mcp-tools", names)], is_read_only=False)
    assert tool_filter.hides("luma_get_task", is_billable=False)
