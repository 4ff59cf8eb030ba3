"""deploy/nginx.conf in a real nginx, in front of two replicas."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.clock import HandClock
from tests.support.nginx import HOST, Nginx, running_nginx
from tests.support.redis_server import RedisServer
from tests.support.service import sandbox, serving, settings

LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
HEADERS = {"host": HOST, "authorization": "Bearer token-a", "accept": "application/json, text/event-stream"}


@pytest.fixture
async def nginx(tmp_path: Path, redis_server: RedisServer, clock: HandClock) -> AsyncIterator[Nginx]:
    values = settings(
        public_url=f"https://{HOST}",
        redis_url=redis_server.url,
        database_url=f"sqlite:///{tmp_path}/luma.db",
        trusted_proxies=("127.0.0.1",),
    )
    async with AsyncExitStack() as stack:
        backend = sandbox(clock)
        replicas = [await stack.enter_async_context(serving(values, backend, clock)) for _ in range(2)]
        addresses = [replica.url.removeprefix("http://") for replica in replicas]
        yield await stack.enter_async_context(running_nginx(tmp_path, addresses))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=False, headers=HEADERS, timeout=30) as http:  # noqa: S501 - a certificate of the test
        yield http


async def test_calls_pass_through_to_the_replicas(nginx: Nginx, client: httpx.AsyncClient) -> None:
    for _ in range(4):  # two for each replica, the second on a connection that nginx has kept
        answer = await client.post(f"{nginx.https_url}/mcp", json=LIST_TOOLS)
        assert "luma_get_tasks_batch" in {tool["name"] for tool in answer.json()["result"]["tools"]}


async def test_plain_http_is_redirected(nginx: Nginx, client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{nginx.http_url}/mcp?a=b", json=LIST_TOOLS)
    assert (answer.status_code, answer.headers["location"]) == (308, f"https://{HOST}/mcp?a=b")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_other_hosts_get_no_answer(nginx: Nginx, client: httpx.AsyncClient, scheme: str) -> None:
    url = nginx.http_url if scheme == "http" else nginx.https_url
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"{url}/livez", headers={"host": "other.example.com"})


@pytest.mark.parametrize("path", ["/metrics", "/admin/v1/members"])
async def test_what_is_for_operators_is_not_passed_on(nginx: Nginx, client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{nginx.https_url}{path}")
    assert answer.status_code == 404
    assert "x-request-id" not in answer.headers, "the service did not answer this"


async def test_the_logs_hold_no_ticket_no_query_and_no_token(
    nginx: Nginx, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    for path in ("/callbacks/secret-ticket", "/luma/CALLBACKS/secret-ticket", "/authorize?code=secret-ticket"):
        await client.post(f"{nginx.https_url}{path}", json={}, headers={"authorization": "Bearer secret-ticket"})
    written = nginx.log.read_text()
    assert written.count(" /callbacks/- ") == 2
    assert " /authorize " in written
    assert "secret-ticket" not in written
    assert "secret-ticket" not in (tmp_path / "luma-mcp-error.log").read_text()
