"""TLS handshakes run in threads, and servers may send a limited number of bytes before they are done."""

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import ByteStream

from app.adapters.auth.public_fetch import FetchFailed, PublicFetcher
from app.adapters.checked_network import CheckedTransport
from app.adapters.network_environment import tls_context
from app.adapters.tls_handshake import MAX_HANDSHAKE_BYTES, MAX_HANDSHAKE_READS, PRIORITY, begin_tls, strangers_threads
from tests.support.certificates import server_context
from tests.support.raw_http import raw_server, write_json


class CountedThreads(ThreadPoolExecutor):
    """Threads that count the calls which they run."""

    calls = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        return super().submit(fn, *args, **kwargs)


def chain(folder: Path, copies: int) -> tuple[ssl.SSLContext, str]:
    """Return the context of a server that sends its certificate this many times, and the CA file."""
    context, certificate = server_context(folder)
    pem = folder / "server.pem"
    pem.write_text(pem.read_text() + Path(certificate).read_text() * (copies - 1))
    context.load_cert_chain(pem)
    assert (len(ssl.PEM_cert_to_DER_cert(Path(certificate).read_text())) * copies > MAX_HANDSHAKE_BYTES) is (copies > 9)
    return context, certificate


@asynccontextmanager
async def json_server(folder: Path, copies: int = 1) -> AsyncIterator[tuple[str, str]]:
    """Serve JSON over TLS with this many copies of the certificate in its chain; yield the URL and the CA file."""
    context, certificate = chain(folder, copies)

    async def answer(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        write_json(writer, {})
        await writer.drain()

    async with raw_server(answer, context) as server:
        yield server.url, certificate


async def test_a_handshake_runs_in_the_given_threads_and_a_response_does_not(tmp_path: Path) -> None:
    threads = CountedThreads(1)
    async with json_server(tmp_path) as (url, certificate):
        context = tls_context({"SSL_CERT_FILE": certificate})
        network = CheckedTransport(verify=context, trust_env=False, threads=threads)
        async with httpx.AsyncClient(transport=network) as client:
            assert (await client.post(url, json={})).json() == {}
            after_one = threads.calls
            assert (await client.post(url, json={})).json() == {}
    assert after_one >= 2, "the first message of each side"
    assert threads.calls == after_one, "the connection was reused"


@pytest.mark.parametrize("is_for_strangers", [False, True])
async def test_a_server_that_sends_too_many_certificates_is_left(tmp_path: Path, *, is_for_strangers: bool) -> None:
    async with json_server(tmp_path, copies=60) as (url, certificate):
        context = tls_context({"SSL_CERT_FILE": certificate}, is_for_strangers=is_for_strangers)
        async with httpx.AsyncClient(transport=CheckedTransport(verify=context, trust_env=False)) as client:
            with pytest.raises(httpx.ConnectError):
                await client.post(url, json={})


class PiecewiseServer(ByteStream):
    """The connection to a TLS server in this process, of which each read returns a few bytes."""

    def __init__(self, context: ssl.SSLContext, read_bytes: int) -> None:
        self._from_client, self._to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._from_client, self._to_client, server_side=True)
        self._read_bytes = read_bytes

    async def send(self, item: bytes) -> None:
        self._from_client.write(item)
        with suppress(ssl.SSLWantReadError):
            self._session.do_handshake()

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return self._to_client.read(min(max_bytes, self._read_bytes))

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(("read_bytes", "is_connected"), [(1, False), (100, True)])
async def test_a_server_that_sends_its_handshake_in_tiny_pieces_is_left(
    tmp_path: Path, read_bytes: int, *, is_connected: bool
) -> None:
    context, certificate = server_context(tmp_path)
    stream, threads = PiecewiseServer(context, read_bytes), CountedThreads(1)
    connecting = begin_tls(stream, tls_context({"SSL_CERT_FILE": certificate}), "127.0.0.1", threads)
    if is_connected:
        await connecting
    else:
        with pytest.raises(anyio.BrokenResourceError):
            await connecting
    assert threads.calls <= MAX_HANDSHAKE_READS + 1


@pytest.mark.parametrize(("copies", "is_fetched"), [(5, True), (60, False)])
async def test_documents_of_strangers_are_fetched_with_a_usual_chain(
    tmp_path: Path, copies: int, *, is_fetched: bool
) -> None:
    async with json_server(tmp_path, copies) as (url, certificate):
        context = tls_context({"SSL_CERT_FILE": certificate}, is_for_strangers=True)
        fetcher = PublicFetcher("tests", allows_loopback=True, context=context)
        if is_fetched:
            assert (await fetcher.fetch(url, 100)).content == {}
        else:
            with pytest.raises(FetchFailed, match="ConnectError"):
                await fetcher.fetch(url, 100)


def test_threads_for_strangers_have_a_low_priority_and_others_keep_theirs() -> None:
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with strangers_threads() as threads:
        assert threads.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result() == PRIORITY
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


@pytest.mark.parametrize("is_for_strangers", [False, True])
def test_no_server_may_renegotiate(*, is_for_strangers: bool) -> None:
    assert tls_context({}, is_for_strangers=is_for_strangers).options & ssl.OP_NO_RENEGOTIATION
