"""The routes beside /mcp: probes, metrics, the page, the server card; and the phases of a process in /readyz."""

import signal
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette

from app.adapters.memory.store import MemoryStore
from app.web.readiness import Phase, Readiness
from app.web.routes import page_route, probe_routes
from tests.support.clock import HandClock
from tests.support.service import MODERN, Service, sandbox, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")
PUBLIC = "https://luma.example.com"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(public_url=PUBLIC), sandbox(clock), clock) as running:
        yield running


async def test_livez_answers_any_host_and_readyz_those_that_are_allowed(service: Service) -> None:
    by_address = {"host": "10.1.2.3:8000"}
    assert (await service.http.get(f"{service.url}/livez", headers=by_address)).json() == {"status": "alive"}
    assert (await service.http.get(f"{service.url}/readyz", headers=by_address)).status_code == 421
    response = await service.http.get(f"{service.url}/readyz", headers={"host": "localhost"})
    assert response.json() == {"status": "ready", "store": "memory", "store_status": "up", "database_status": "up"}


@pytest.mark.parametrize("path", ["/metrics/", "/readyz/", "/mcp/server-card/", "//evil.example.com/", "/livez//"])
async def test_a_path_with_a_further_slash_is_404_and_no_redirect_repeats_the_host(path: str) -> None:
    async with serving(settings(allowed_hosts="*"), sandbox(HandClock())) as service:
        response = await service.http.get(service.url + path, headers={"host": "evil.example.com"})
    assert response.status_code == 404
    assert "evil.example.com" not in str(response.headers) + response.text


async def test_a_host_longer_than_a_name_can_be_is_refused_even_if_any_host_is_allowed() -> None:
    longest = ".".join(["a" * 61] * 4) + ":65535"
    async with serving(settings(allowed_hosts="*"), sandbox(HandClock())) as service:
        shown = await service.http.get(service.url, headers={"host": longest})
        refused = [
            await service.http.request(method, service.url + path, headers={"host": "a" * 301})
            for method, path in (("GET", "/"), ("GET", "/readyz"), ("POST", "/mcp"))
        ]
    assert longest in shown.text
    assert [response.status_code for response in refused] == [421] * 3


async def test_a_process_is_starting_then_ready_and_draining_from_the_moment_of_sigterm() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    readiness = Readiness()
    try:
        phases = [readiness.phase]
        with readiness.serving():
            phases.append(readiness.phase)
            signal.raise_signal(signal.SIGTERM)
            phases.append(readiness.phase)
        assert phases == [Phase.STARTING, Phase.READY, Phase.DRAINING]
        assert heard == [signal.SIGTERM], "the server was told too"
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
async def test_readyz_is_503_while_starting_or_draining(phase: Phase) -> None:
    readiness = Readiness()
    readiness.phase = phase
    store = MemoryStore(capacity_bytes=1000, clock=HandClock())

    async def database_status() -> str:
        return "up"

    app = Starlette(routes=probe_routes(readiness, store.ping, "memory", database_status))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": phase.value}


async def test_the_page_names_the_public_address_and_how_to_set_up_each_client(service: Service) -> None:
    response = await service.http.get(service.url + "/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    for said in (f"{PUBLIC}/mcp", "Claude", "Cursor", "VS Code", "curl", "luma_get_tasks_batch"):
        assert said in response.text


async def test_a_421_repeats_no_markup_from_the_host_header(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        response = await service.http.get(service.url + "/", headers={"host": 'x"><script>alert(1)</script>'})
    assert "<script>" not in response.text


async def test_the_server_card_is_served_where_the_public_address_is_known(service: Service) -> None:
    for path in ("/mcp/server-card", "/.well-known/mcp/server-card.json"):
        response = await service.http.get(service.url + path)
        assert response.headers["content-type"] == "application/mcp-server-card+json"
        assert response.headers["access-control-allow-origin"] == "*"
        card = response.json()
        assert card["remotes"][0]["url"] == f"{PUBLIC}/mcp"
        assert MODERN in card["remotes"][0]["supportedProtocolVersions"]
        assert len(card["description"]) <= 100
    again = await service.http.get(service.url + path, headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("methods", "token", "custody"),
    [
        ("passthrough", "your own AceDataCloud API token", "never stored or logged here"),
        ("keys", "your key of a team", "only a digest is kept here"),
        ("keys,passthrough", "your key of a team or your own AceDataCloud API token", "kept encrypted"),
    ],
)
async def test_the_card_and_the_page_name_the_tokens_that_are_accepted(methods: str, token: str, custody: str) -> None:
    async with serving(settings(public_url=PUBLIC, auth=methods), sandbox(HandClock())) as service:
        card = (await service.http.get(f"{service.url}/mcp/server-card")).json()
        page = (await service.http.get(service.url)).text
    [header] = card["remotes"][0]["headers"]
    assert header["isRequired"] is True
    assert header["description"] == f"Bearer and {token}"
    assert f"with {token}:" in page
    assert custody in page


async def test_metrics_group_clients_into_a_fixed_set_of_labels(service: Service) -> None:
    for name in ("claude-code", "Cursor", "my own client", "x" * 9000):
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        call = {**message, "params": {"name": "luma_get_tasks_batch", "arguments": {"task_ids": ["a", "b"]}}}
        await service.post(call, headers={"user-agent": name})
    response = await service.http.get(f"{service.url}/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    clients = {line.split('client="')[1].split('"')[0] for line in response.text.splitlines() if 'client="' in line}
    assert clients <= {"claude", "cursor", "other", "unknown"}
    for name in (
        "luma_mcp_calls_total",
        "luma_mcp_call_seconds_bucket",
        "luma_mcp_task_lookups_total",
        "luma_mcp_backend_calls_total",
        "luma_mcp_flights_joined_total",
    ):
        assert name in response.text


async def test_an_unknown_path_is_a_json_404(service: Service) -> None:
    response = await service.http.get(f"{service.url}/sse")
    assert response.status_code == 404
    assert "POST /mcp" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/metrics/", "/readyz", "/livez/", "/mcp/server-card", "/callbacks/x"]
)
async def test_a_421_repeats_no_host_in_its_headers(service: Service, path: str) -> None:
    response = await service.http.get(service.url + path, headers={"host": "evil.example.com"})
    assert response.status_code == 421
    assert "evil.example.com" not in str(response.headers)


@pytest.mark.parametrize("path", ["", "/luma"])
async def test_a_service_with_a_public_path_answers_with_and_without_that_path(path: str) -> None:
    clock = HandClock()
    values = settings(public_url="https://host.example.com/luma/mcp")
    async with serving(values, sandbox(clock), clock) as service:
        prefixed = Service(service.url + path, service.assembly, service.http)
        ratios = await prefixed.ask("luma_list_aspect_ratios", {})
        page = await service.http.get(f"{prefixed.url}/")
        card = (await service.http.get(f"{prefixed.url}/mcp/server-card")).json()
        elsewhere = await service.http.post(f"{service.url}/lumamcp")
    assert ratios["default"] == "16:9"
    assert "https://host.example.com/luma/mcp" in page.text
    assert card["remotes"][0]["url"] == "https://host.example.com/luma/mcp"
    assert elsewhere.status_code == 404


@pytest.mark.parametrize(("path", "status"), [("/", 405), ("/sse", 404), ("/messages", 404), ("/mcp/mcp", 404)])
async def test_a_post_to_another_path_names_the_endpoint(service: Service, path: str, status: int) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = await service.http.post(f"{service.url}{path}", json=call)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", None)
    assert "ends in /mcp" in body["error"]["message"]


async def test_the_python_client_shows_where_the_endpoint_is(service: Service) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(MCPError, match="ends in /mcp"), flatten_subgroups=True):
        async with Client(streamable_http_client(f"{service.url}/")) as client:
            await client.list_tools()


async def test_the_page_is_rendered_once_for_each_address() -> None:
    asked: list[str] = []

    def page(url: str, _is_url_uncertain: bool) -> str:
        asked.append(url)
        return url

    app = Starlette(routes=[page_route(page, None)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        answers = [(await http.get(f"http://{host}/")).text for host in ("a", "b", "a", "a")]
    assert answers == ["http://a", "http://b", "http://a", "http://a"]
    assert asked == ["http://a", "http://b"]
