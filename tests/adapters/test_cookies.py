"""Clients of this service send no cookie that an earlier response has set. Those of the backend: test_pool.py."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.adapters.auth.jwt.issuer_client import IssuerClient
from app.adapters.auth.public_fetch import PublicFetcher
from app.adapters.vault import Vault
from app.adapters.webhook import WebhookSender
from app.adapters.webhook_signature import PURPOSE
from app.ports.alerts import BudgetAlert
from tests.support.service import KEY, listening


class CookieServer:
    """Sets a cookie in each response, and keeps the Cookie header of each request."""

    def __init__(self) -> None:
        self.cookies: list[str | None] = []

    async def answer(self, request: Request) -> Response:
        self.cookies.append(request.headers.get("cookie"))
        url = str(request.base_url).removesuffix("/")
        response = JSONResponse({"issuer": url, "jwks_uri": f"{url}/keys", "keys": []})
        response.set_cookie("session", "of-somebody-else")
        return response


async def fetch(url: str) -> None:
    fetcher = PublicFetcher("tests", allows_loopback=True)
    for number in range(2):
        await fetcher.fetch(f"{url}/{number}", 10_000)


async def read_issuer(url: str) -> None:
    client = IssuerClient(url, "tests", {})
    for _ in range(2):
        await client.read_metadata()
        await client.post_form(f"{url}/token", {"grant_type": "authorization_code"})


async def send_alerts(url: str) -> None:
    sealed = Vault(KEY).seal(PURPOSE, f"{url}/alert".encode(), "team")
    sender = WebhookSender(Vault(KEY), (KEY,), lambda: 1_770_000_001.5, httpx.AsyncHTTPTransport())
    for _ in range(2):
        await sender.send(BudgetAlert(7, "team", 80, {}, sealed, created_at=1_770_000_000.0, attempts=1))


@pytest.mark.parametrize("send", [fetch, read_issuer, send_alerts])
async def test_a_cookie_of_a_response_is_not_sent_again(send: Callable[[str], Awaitable[None]]) -> None:
    server = CookieServer()
    routes = [Route("/{path:path}", server.answer, methods=["GET", "POST"])]
    async with listening(Starlette(routes=routes)) as url:
        await send(url)
    assert len(server.cookies) >= 2
    assert set(server.cookies) == {None}
