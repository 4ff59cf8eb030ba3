"""Fetches of URLs that strangers name: https from public addresses only."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.adapters.auth.public_fetch import PLACES, FetchFailed, FetchRefused, FetchTimes, PublicFetcher
from app.cli.serve import listening_socket
from tests.support.certificates import server_context
from tests.support.documents_server import document_server
from tests.support.service import listening


def fetcher(*addresses: str, allows_loopback: bool = False) -> PublicFetcher:
    """Return a fetcher whose resolver returns these addresses for every host."""

    async def resolver(_host: str, _port: int) -> list[str]:
        return list(addresses)

    context = ssl.create_default_context()
    return PublicFetcher("tests", resolver=resolver, context=context, allows_loopback=allows_loopback)


@asynccontextmanager
async def raw_document(head: bytes, body: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answer every request with an OK status and these bytes, over TLS if there is a context; yield the URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + head + b"\r\n\r\n" + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


class LoopbackNames(PublicFetcher):
    """Takes every name for one of this machine, so that its resolver tells servers on loopback apart."""

    def may_fetch(self, url: str) -> bool:
        return url.startswith("http://")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
async def test_a_host_with_a_private_address_is_not_fetched(address: str) -> None:
    with pytest.raises(FetchRefused, match="not public"):
        await fetcher(address).fetch("https://client.example.com/client.json", 1000)
    with pytest.raises(FetchRefused, match="not public"):
        await fetcher("93.184.216.34", address).fetch("https://client.example.com/client.json", 1000)


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example.com/client.json",
        "https://127.0.0.1/client.json",
        "https://localhost/client.json",
        "https://[::1]/client.json",
        "https://2130706433/client.json",
        "https://0x7f.1/client.json",
        "https://user@client.example.com/client.json",
        "https://intranet/client.json",
        "https://service.namespace.svc/client.json",
        "ftp://client.example.com/client.json",
        "https://client.example.com:0/client.json",
        "https://[",
        "",
    ],
)
async def test_the_host_of_an_unacceptable_url_is_not_resolved(url: str) -> None:
    async def resolver(_host: str, _port: int) -> list[str]:
        raise AssertionError("resolved")

    with pytest.raises(FetchRefused, match="no https URL"):
        await PublicFetcher("tests", resolver=resolver, context=ssl.create_default_context()).fetch(url, 1000)


async def test_a_host_that_cannot_be_resolved_is_not_fetched() -> None:
    async def resolver(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(FetchFailed):
        await PublicFetcher("tests", resolver=resolver, context=ssl.create_default_context()).fetch(
            "https://client.example.com/client.json", 1000
        )
    with pytest.raises(FetchRefused):
        await fetcher().fetch("https://client.example.com/client.json", 1000)


async def test_loopback_is_fetched_only_if_allowed() -> None:
    async with document_server() as server:
        server.add("/client.json")
        url = f"{server.url}/client.json"
        with pytest.raises(FetchRefused):
            await fetcher("127.0.0.1").fetch(url, 1000)
        fetched = await fetcher("127.0.0.1", allows_loopback=True).fetch(url, 1000)
        assert fetched.content["client_id"] == url
        with pytest.raises(FetchRefused, match="not public"):
            await fetcher("127.0.0.1", "10.0.0.1", allows_loopback=True).fetch(url, 1000)


@pytest.mark.parametrize("path", ["\0x", "a\x7fb", "a b\n"])
async def test_a_loopback_url_that_no_client_can_read_is_refused(path: str) -> None:
    with pytest.raises(FetchRefused, match="no https URL"):
        await fetcher("127.0.0.1", allows_loopback=True).fetch(f"https://localhost/{path}", 1000)


async def test_a_connection_is_pinned_to_the_address_and_the_certificate_to_the_name(tmp_path: Path) -> None:
    """Only the fetcher resolves the name. It connects to the address, and checks the certificate for the name."""
    hosts: list[str] = []

    async def answer(request: Request) -> Response:
        hosts.append(request.headers["host"])
        return JSONResponse({"client_id": "x"})

    _, authority = server_context(tmp_path)
    socket = listening_socket("127.0.0.1", 0)
    config = uvicorn.Config(
        Starlette(routes=[Route("/client.json", answer)]),
        log_config=None,
        lifespan="off",
        ssl_certfile=str(tmp_path / "server.pem"),
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[socket]))
    while not server.started:
        await asyncio.sleep(0)
    port = socket.getsockname()[1]

    async def resolver(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    try:
        trusting = PublicFetcher(
            "tests",
            resolver=resolver,
            allows_loopback=True,
            context=ssl.create_default_context(cafile=authority),
        )
        assert (await trusting.fetch(f"https://localhost:{port}/client.json", 1000)).content == {"client_id": "x"}
        assert hosts == [f"localhost:{port}"]
        with pytest.raises(FetchFailed):
            await trusting.fetch(f"https://other.example.com:{port}/client.json", 1000)
    finally:
        server.should_exit = True
        await running
        socket.close()


async def test_a_server_that_does_not_answer_holds_up_nobody_elses_fetches() -> None:
    """Strangers name the URLs: ten at a time must not keep the documents of other clients from being fetched."""
    arrived: list[str] = []
    two_are_in, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        arrived.append(request.url.path)
        if len(arrived) == 2:
            two_are_in.set()
        await release.wait()
        return JSONResponse({})

    async def resolver(host: str, _port: int) -> list[str]:
        return ["127.0.0.2" if host == "slow.localhost" else "127.0.0.1"]

    async with document_server() as quick, listening(Starlette(routes=[Route("/{n}", slow)]), "127.0.0.2") as url:
        context = ssl.create_default_context()
        fetching = LoopbackNames("tests", resolver=resolver, context=context, allows_loopback=True)
        stuck_at = url.replace("127.0.0.2", "slow.localhost")
        stuck = [asyncio.create_task(fetching.fetch(f"{stuck_at}/{number}", 1000)) for number in range(10)]
        await two_are_in.wait()
        quick.documents["/client.json"] = {"a": 1}
        try:
            assert (await fetching.fetch(f"{quick.url}/client.json", 1000)).content == {"a": 1}
            assert len(arrived) == 2, "of one network, two at once"
        finally:
            release.set()
        assert [(await one).content for one in stuck] == [{}] * 10


def chunked(*parts: bytes) -> bytes:
    """Return a body in these chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


async def test_a_response_that_takes_long_to_parse_is_refused() -> None:
    """Its server is a stranger's, and may send thousands of short header fields or of chunks of one byte."""
    fetching, many = fetcher("127.0.0.1", allows_loopback=True), chunked(b"{", *[b" "] * 2_000, b"}")
    async with raw_document(b"transfer-encoding: chunked", chunked(b"{", b'"a": ', b"1}")) as url:
        assert (await fetching.fetch(url, 10_000)).content == {"a": 1}
    async with raw_document(b"transfer-encoding: chunked", many) as url:
        with pytest.raises(FetchRefused, match="chunks"):
            await fetching.fetch(url, 10_000)
    async with raw_document(b"content-length: 2\r\n" + b"\r\n".join([b"a: b"] * 2_000), b"{}") as url:
        with pytest.raises(FetchFailed):
            await fetching.fetch(url, 10_000)


async def test_servers_that_do_not_answer_give_their_places_back() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(hold, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/"
    fetching = PublicFetcher("tests", allows_loopback=True, times=FetchTimes(total=600.0, server=0.1))
    async with silent, document_server() as documents:
        documents.add("/client")
        held = [asyncio.create_task(fetching.fetch(url, 1000)) for _ in range(3 * PLACES.per_tenant)]
        assert (await fetching.fetch(f"{documents.url}/client", 10_000)).content
        for failed in await asyncio.gather(*held, return_exceptions=True):
            assert isinstance(failed, FetchFailed)
            assert str(failed) == "does not answer in time"


async def test_a_url_with_an_impossible_port_is_refused() -> None:
    with pytest.raises(FetchRefused, match="no https URL"):
        await fetcher("127.0.0.1", allows_loopback=True).fetch("http://127.0.0.1:99999/", 1000)


@pytest.mark.parametrize(("tickets", "is_fetched"), [(2, True), (5_000, False)])
async def test_bytes_of_tls_count_in_a_connections_limit(tmp_path: Path, tickets: int, *, is_fetched: bool) -> None:
    context, authority = server_context(tmp_path)
    context.num_tickets = tickets

    async def resolver(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    trusted = ssl.create_default_context(cafile=authority)
    fetcher = PublicFetcher("tests", resolver=resolver, allows_loopback=True, context=trusted)
    async with raw_document(b"content-length: 2", b"{}", context) as url:
        if is_fetched:
            assert (await fetcher.fetch(url, 1000)).content == {}
        else:
            with pytest.raises(FetchFailed):
                await fetcher.fetch(url, 1000)
