"""Floods of the endpoints of sign-in, which strangers reach without a token, from as many addresses as they like."""

import asyncio
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from app.adapters.sql.sign_in_steps import MAX_PENDING
from app.domain import sign_in_tokens
from app.domain.oauth import s256
from tests.attacks.attacks import Case, going_on, held_open, in_parts, rows
from tests.attacks.database_attacks import buy, measure_purchases
from tests.attacks.flooding import WARM_UP_SECONDS, flood
from tests.attacks.target import Figure, Target, connect, raw
from tests.support.documents_server import document_server
from tests.support.service import MODERN, envelope

CLIENTS = 300
MAX_NEW_CLIENTS = 1000
"""New clients in an hour, from all addresses together."""

MAX_FETCHES = 2
"""Fetches from one server at once."""

SETTINGS = {
    "database_url": "sqlite:///{folder}/attacked.db",
    "trusted_proxies": "127.0.0.1",
    "sign_in": "acedata",
    "public_url": "http://127.0.0.1:1",
    "acedata_client_id": "app-luma",
    "acedata_auth_url": "http://127.0.0.1:9",
    "acedata_platform_url": "http://127.0.0.1:9",
}
"""The attack comes from many addresses, each of which has limits of its own. Nobody gets as far as the login."""

ACCENTS = "a" + "\u0301\u0316" * 7_900
"""A letter with as many accents as a body has room for. Normalization sorts them, in 0.7 s."""

COSTLY_KEY = {"kty": "RSA", "kid": "1", "n": f"_{'A' * 1_998}B", "e": "_" * 700, "d": "_" * 700}
"""A private key without its primes, whose recovery takes 3 s; with 32 KB it takes hours."""

FORM = "application/x-www-form-urlencoded"
REDIRECT = "http://127.0.0.1:53111/callback"


def _request(method: str, path: str, body: bytes = b"", media_type: str = FORM) -> bytes:
    """Return a request from a new address."""
    address = ".".join(str(number) for number in secrets.token_bytes(3))
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-forwarded-for: 11.{address}\r\n"
        f"content-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _authorize(client_id: str) -> bytes:
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT,
        "state": secrets.token_urlsafe(600),
        "code_challenge": s256(secrets.token_urlsafe(48)),
        "code_challenge_method": "S256",
    }
    return _request("GET", f"/authorize?{urlencode(query)}")


async def _again(port: int, *requests: bytes) -> None:
    """Send requests on one connection, each after the response to the one before."""
    connection = await connect(port)
    for request in requests:
        await connection.send(request)
        await connection.answer()
    connection.hang_up()


async def registering(port: int, _client: int) -> None:
    """Register clients with new names and the longest lists of redirect URIs."""
    for _ in range(20):
        redirects = [f"https://{secrets.token_hex(8)}.example.com/{'a' * 980}" for _ in range(10)]
        body = {"client_name": secrets.token_hex(40), "redirect_uris": redirects}
        await _again(port, _request("POST", "/register", json.dumps(body).encode(), "application/json"))


async def opening_pages(port: int, _client: int) -> None:
    """Open consent pages of a client that is registered."""
    body = json.dumps({"client_name": "Flood", "redirect_uris": [REDIRECT]}).encode()
    connection = await connect(port)
    await connection.send(_request("POST", "/register", body, "application/json"))
    registered = json.loads(await connection.answer())
    connection.hang_up()
    await _again(port, *(_authorize(registered.get("client_id", "lmc_none")) for _ in range(50)))


async def returning(port: int, _client: int) -> None:
    """Return from logins that nobody has begun, in a browser whose cookie is made up."""
    cookie = f"cookie: luma-mcp-browser={'a' * 43}\r\n\r\n".encode()
    requests = (_request("GET", f"/oauth/callback?state={secrets.token_urlsafe(48)}&code=x") for _ in range(50))
    await _again(port, *(request.replace(b"\r\n\r\n", b"\r\n" + cookie) for request in requests))


async def beginning_logins(port: int, _client: int) -> None:
    """Press "Sign in" on the account page again and again."""
    connection = await connect(port)
    await connection.send(_request("GET", "/account"))
    head = await connection.reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    page = (await connection.reader.readexactly(length)).decode()
    connection.hang_up()
    cookie = head.decode().partition("set-cookie: ")[2].partition(";")[0]
    form = urlencode({"token": page.partition('name="token" value="')[2].partition('"')[0], "action": "sign-in"})
    requests = (_request("POST", "/account", form.encode()) for _ in range(50))
    head_end = f"\r\ncookie: {cookie}\r\n\r\n".encode()
    await _again(port, *(request.replace(b"\r\n\r\n", head_end) for request in requests))


async def asking_for_tokens(port: int, _client: int) -> None:
    """Exchange codes and refresh tokens that are made up in the right form, as a client that is registered."""
    body = json.dumps({"client_name": "Flood", "redirect_uris": [REDIRECT]}).encode()
    connection = await connect(port)
    await connection.send(_request("POST", "/register", body, "application/json"))
    client_id = json.loads(await connection.answer()).get("client_id", "lmc_none")
    connection.hang_up()
    forms = []
    for _ in range(25):
        code = sign_in_tokens.CODE.encode(secrets.token_bytes(sign_in_tokens.CODE.size))
        refresh = sign_in_tokens.REFRESH.encode(secrets.token_bytes(sign_in_tokens.REFRESH.size))
        forms.append({"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 128})
        forms.append({"grant_type": "refresh_token", "refresh_token": refresh})
    await _again(
        port, *(_request("POST", "/token", urlencode({**form, "client_id": client_id}).encode()) for form in forms)
    )


@asynccontextmanager
async def half_sent_forms(target: Target) -> AsyncIterator[None]:
    """Send five packets of 6 KB of 3,500 forms that do not end, each packet after the one before of all."""
    start = _request("POST", "/account", b"a" * 32_000)[: -32_000 + 1]
    connections = await in_parts(target.connect(start) for _ in range(3500))
    async with held_open(connections):
        for _ in range(5):
            await in_parts(connection.send(b"a" * 6_000) for connection in connections)
        yield


@asynccontextmanager
async def registrations(target: Target) -> AsyncIterator[None]:
    """Register without end on 300 connections."""
    async with flood(target, registering, CLIENTS):
        yield
    target.figures.append(Figure(rows(target, "oauth_clients"), "clients in the database", MAX_NEW_CLIENTS))


@asynccontextmanager
async def returns_from_nowhere(target: Target) -> AsyncIterator[None]:
    """Return from logins without end on 300 connections. The figures are an honest caller's purchases."""
    assert await buy(target)
    async with flood(target, returning, CLIENTS):
        await measure_purchases(target)
        yield


@asynccontextmanager
async def logins_begun(target: Target) -> AsyncIterator[None]:
    """Begin logins without end on 300 connections. The figures are an honest caller's purchases, and the rows left."""
    assert await buy(target)
    async with flood(target, beginning_logins, CLIENTS):
        await measure_purchases(target)
        yield
    target.figures.append(Figure(rows(target, "oauth_pending"), "rows of sign-ins under way", MAX_PENDING))


@asynccontextmanager
async def consent_pages(target: Target) -> AsyncIterator[None]:
    """Open consent pages without end on 300 connections."""
    async with flood(target, opening_pages, CLIENTS):
        yield
    target.figures.append(Figure(rows(target, "oauth_pending"), "rows of sign-ins under way", 0))


@asynccontextmanager
async def invented_codes(target: Target) -> AsyncIterator[None]:
    """Ask for tokens without end on 300 connections."""
    async with flood(target, asking_for_tokens, CLIENTS):
        yield
    target.figures.append(Figure(rows(target, "oauth_grants"), "grants", 0))


@dataclass
class EndlessDocuments:
    """A server that begins a document and never ends it. `most` is the greatest number of connections at once."""

    open: int = 0
    most: int = 0
    is_over: bool = False

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            ended = asyncio.ensure_future(reader.read())  # a fetch that has ended must not count beside its successor
            while not self.is_over and not ended.done():
                writer.write(b"1\r\n \r\n")
                await writer.drain()
                await asyncio.wait({ended}, timeout=0.1)
            ended.cancel()
        self.open -= 1
        writer.transport.abort()


@asynccontextmanager
async def endless_documents(target: Target) -> AsyncIterator[None]:
    """Open consent pages on 300 connections, of clients whose documents are on a server that never ends one."""
    documents = EndlessDocuments()
    server = await asyncio.start_server(documents.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def keep_naming() -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await _again(target.port, _authorize(f"http://127.0.0.1:{port}/{secrets.token_hex(20)}"))

    async with going_on(keep_naming() for _ in range(CLIENTS)):
        await asyncio.sleep(WARM_UP_SECONDS)
        yield
    target.figures.append(Figure(documents.most, "fetches at once", MAX_FETCHES))
    documents.is_over = True
    server.close()
    await asyncio.sleep(0.5)  # the last responses end


def _asserted(client_id: str) -> dict[str, str]:
    """Return the parameters of a client that authenticates with an assertion, whose signature is made up."""
    parts = ({"alg": "RS256", "kid": "1"}, {"iss": client_id})
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return {"client_assertion_type": kind, "client_assertion": ".".join((*encoded, "c" * 342))}


async def costly_to_parse(documents: str, port: int, client: int) -> None:
    """Send a key, a client's name, a resource indicator and URLs that are small and take long to parse."""
    described = f"{documents}/{client}"
    named = {"client_name": ACCENTS, "redirect_uris": [REDIRECT]}
    resource = f"https://{secrets.token_hex(8)}.{ACCENTS}/"
    refresh = sign_in_tokens.REFRESH.encode(secrets.token_bytes(sign_in_tokens.REFRESH.size))
    asking = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": described}
    assertion = urlencode({**asking, **_asserted(described)}).encode()
    of_resource = urlencode({**asking, "client_id": f"{documents}/public"}).encode() + f"&resource={resource}".encode()
    urls = {f"{name}_image_url": f"https://{secrets.token_hex(8)}.{ACCENTS[:2_000]}/" for name in ("start", "end")}
    calling = {"name": "luma_generate_video", "arguments": {"prompt": "a cat", **urls}}
    await _again(
        port,
        *[raw(*envelope("tools/call", calling, MODERN), secrets.token_hex(8))] * 5,
        _request("POST", "/token", assertion),
        _request("POST", "/register", json.dumps(named, ensure_ascii=False).encode(), "application/json"),
        _request("POST", "/token", of_resource),
    )


@asynccontextmanager
async def texts_that_cost(target: Target) -> AsyncIterator[None]:
    """Ask for tokens, and register, on 10 connections, with keys, names and resources that take long to parse."""
    async with document_server() as documents:
        documents.add("/public")
        for client in range(10):
            documents.add(f"/{client}", token_endpoint_auth_method="private_key_jwt", jwks={"keys": [COSTLY_KEY]})
        async with flood(target, partial(costly_to_parse, documents.url), 10):
            yield


SIGN_IN_ROWS = (
    Case("300 connections that register OAuth clients", "", registrations, 0.1, SETTINGS),
    Case("300 connections that open consent pages", "", consent_pages, 0.1, SETTINGS),
    Case("300 connections with made-up codes and refresh tokens", "", invented_codes, 0.1, SETTINGS),
    Case("300 connections that return from no login", "one purchase in 6 s", returns_from_nowhere, 0.1, SETTINGS),
    Case("300 connections that begin logins", "a purchase took 2.6 s", logins_begun, 0.1, SETTINGS),
    Case("3,500 forms of sign-in in packets that do not end", "326 MB", half_sent_forms, 0.1, SETTINGS),
    Case("300 sign-ins of clients with endless documents", "all 8 places of fetches", endless_documents, 0.1, SETTINGS),
    Case(
        "10 connections whose keys, names and resources are costly",
        "an answer took 6 s",
        texts_that_cost,
        0.1,
        SETTINGS,
    ),
)
