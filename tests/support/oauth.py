"""People with browsers, and OAuth clients, for tests of sign-in."""

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from itertools import cycle
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from app.domain.oauth import s256
from app.settings import Settings
from tests.support.acedata_login import CLIENT_ID, FakeAceData
from tests.support.clock import HandClock
from tests.support.forwarder import Forwarder, forwarding
from tests.support.service import MODERN, Service, envelope, plain_client, sandbox, serving, settings
from tests.support.settling import settle

LOCAL_REDIRECT = "http://127.0.0.1:53111/callback"
MAX_REDIRECTS = 10
_FIELD = re.compile(r'<input type="(hidden|checkbox)" name="([a-z_]+)" value="([^"]*)"')
_ACTION = re.compile(r'<form method="post" action="([^"]*)"')


@dataclass
class Page:
    """A page that a browser shows. `form` has the hidden fields of its first form, `action` where that leads."""

    response: httpx.Response

    @property
    def text(self) -> str:
        return self.response.text

    @property
    def action(self) -> str:
        found = _ACTION.search(self.text)
        assert found is not None, self.text
        return unescape(found[1])

    @property
    def form(self) -> dict[str, str]:
        first = self.text.partition("</form>")[0]
        return {name: unescape(value) for kind, name, value in _FIELD.findall(first) if kind == "hidden"}


class Browser:
    """A person's browser, with cookies of its own. It follows redirects until one leads to a client."""

    def __init__(self, http: httpx.AsyncClient, *client_redirects: str) -> None:
        """Stop at redirects to one of `client_redirects`, where no server of the test listens."""
        self._stops = client_redirects or (LOCAL_REDIRECT,)
        self.http = http
        self.visited: list[str] = []

    async def open(self, url: str) -> Page | dict[str, str]:
        """Open a URL. Return the page, or the query with which a client would be called."""
        return await self._follow(await self.http.get(url))

    async def press(self, page: Page, decision: str, **more: str) -> Page | dict[str, str]:
        """Press a button of the consent page."""
        return await self.post(page.action, page.form | {"decision": decision} | more)

    async def post(self, url: str, form: Mapping[str, str], **headers: str) -> Page | dict[str, str]:
        """Send a form."""
        return await self._follow(await self.http.post(url, data=dict(form), headers=headers))

    async def _follow(self, response: httpx.Response) -> Page | dict[str, str]:
        for _ in range(MAX_REDIRECTS):
            location = response.headers.get("location")
            if location is None:
                return Page(response)
            self.visited.append(location)
            if any(location.startswith(stop) for stop in self._stops):
                return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))
            response = await self.http.get(location)
        raise AssertionError("too many redirects")


@dataclass
class Client:
    """An OAuth client at one authorization server."""

    issuer: str
    http: httpx.AsyncClient
    client_id: str = ""
    redirect_uri: str = LOCAL_REDIRECT
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    extra: dict[str, str] = field(default_factory=dict)
    """More fields for every request to /token."""

    async def register(self, **metadata: Any) -> httpx.Response:
        """Register, and keep the id and the secret."""
        body = {"client_name": "Test Client", "redirect_uris": [self.redirect_uri], **metadata}
        response = await self.http.post(f"{self.issuer}/register", json=body)
        if response.status_code == 201:
            self.client_id = response.json()["client_id"]
            if "client_secret" in response.json():
                self.extra["client_secret"] = response.json()["client_secret"]
        return response

    def url(self, **changes: str | None) -> str:
        """Return the authorization URL; `changes` replace parameters, and None leaves one out."""
        query: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge": s256(self.verifier),
            "code_challenge_method": "S256",
            "resource": f"{self.issuer}/mcp",
            **changes,
        }
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self.issuer}/authorize?{urlencode(given)}"

    async def token(self, **form: str) -> httpx.Response:
        """Send a request to /token."""
        return await self.http.post(f"{self.issuer}/token", data={"client_id": self.client_id, **self.extra, **form})

    async def exchange(self, code: str, **changes: str) -> httpx.Response:
        """Exchange a code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return await self.token(**form | changes)

    async def refresh(self, token: str, **changes: str) -> httpx.Response:
        """Refresh."""
        return await self.token(**{"grant_type": "refresh_token", "refresh_token": token} | changes)

    async def connect(self, browser: Browser, **changes: str | None) -> dict[str, Any]:
        """Run the whole flow and return the tokens."""
        code = await self.code(browser, **changes)
        response = await self.exchange(code)
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens

    async def code(self, browser: Browser, **changes: str | None) -> str:
        """Have the person approve, and return the code."""
        page = await browser.open(self.url(**changes))
        assert isinstance(page, Page), page
        assert page.response.status_code == 200, page.text
        answer = await browser.press(page, "approve")
        assert isinstance(answer, dict), answer.text
        assert (answer["state"], answer["iss"]) == (self.state, self.issuer)
        return answer["code"]


@dataclass
class SignInFleet:
    """Replicas behind one address, which a load balancer gives in turn: `issuer`. `one` is the first of them."""

    issuer: str
    replicas: list[Service]
    balancer: Forwarder
    clock: HandClock
    acedata: FakeAceData
    http: httpx.AsyncClient
    open_clients: AsyncExitStack

    @property
    def one(self) -> Service:
        return self.replicas[0]

    def client(self, **values: Any) -> Client:
        """Return a client that is not registered yet."""
        return Client(self.issuer, self.http, **values)

    async def registered(self, **metadata: Any) -> Client:
        """Return a client that is registered."""
        client = self.client()
        response = await client.register(**metadata)
        assert response.status_code == 201, response.text
        return client

    async def browser(self, *client_redirects: str) -> Browser:
        """Return a new browser, which is closed with the fleet."""
        return Browser(await self.open_clients.enter_async_context(_unkept_client()), *client_redirects)

    async def settle(self) -> None:
        """Let every replica see what has changed: which grants have ended, and who belongs to a team."""
        await settle(self.clock, *self.replicas)

    def use(self, number: int) -> None:
        """Send new connections to one replica."""
        self.balancer.target = urlsplit(self.replicas[number].url).port or 0

    async def lacks_scope(self, tool: str, arguments: Mapping[str, Any], token: str) -> str:
        """Call a tool with a token that lacks its scope, and return the challenge."""
        message, headers = envelope("tools/call", {"name": tool, "arguments": arguments}, MODERN)
        response = await self.one.post(message, token=token, headers=headers)
        assert response.status_code == 403, response.text
        return response.headers["www-authenticate"]

    def alternate(self) -> None:
        """Send each new connection to the next replica."""
        self.balancer.turns = cycle([urlsplit(one.url).port or 0 for one in self.replicas])

    async def status(self, token: str, replica: int = 0) -> int:
        """Return the status of a call under an access token."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        return (await self.replicas[replica].post(message, token=token)).status_code


@asynccontextmanager
async def sign_in_fleet(
    clock: HandClock, acedata: FakeAceData, *, replicas: int = 1, in_real_time: bool = False, **values: Any
) -> AsyncIterator[SignInFleet]:
    """Serve replicas with sign-in behind one address until the block ends; `clock` counts unless `in_real_time`."""
    backend = sandbox(clock)
    async with AsyncExitStack() as stack:
        balancer = await stack.enter_async_context(forwarding(0))
        issuer = f"http://127.0.0.1:{balancer.port}"
        given = sign_in_settings(issuer, acedata, **values)
        services = [
            await stack.enter_async_context(serving(given, backend, None if in_real_time else clock))
            for _ in range(replicas)
        ]
        clients = await stack.enter_async_context(AsyncExitStack())
        http = await clients.enter_async_context(_unkept_client())
        fleet = SignInFleet(issuer, services, balancer, clock, acedata, http, clients)
        fleet.use(0)
        yield fleet


def _unkept_client() -> httpx.AsyncClient:
    """Return a client that opens a connection for each request, so that the load balancer chooses each time."""
    return plain_client(limits=httpx.Limits(max_keepalive_connections=0))


def sign_in_settings(issuer: str, acedata: FakeAceData, **values: Any) -> Settings:
    """Return settings with sign-in, by the fakes of AceDataCloud if they run."""
    fakes = {
        "sign_in": "acedata",
        "acedata_auth_url": acedata.auth_url,
        "acedata_platform_url": acedata.platform_url,
        "acedata_client_id": CLIENT_ID,
    }
    return settings(**{"public_url": issuer, **(fakes if acedata.auth_url else {}), **values})
