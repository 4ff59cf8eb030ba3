"""Bytes after a response on its connection are discarded, and the size of responses is limited."""

import asyncio
import json
import os
import ssl
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest

from app.adapters.acedata.backend import AceDataBackend
from app.adapters.acedata.client import AceDataClient
from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.adapters.acedata.pool import BackendHttp
from app.adapters.checked_network import CheckedTransport
from app.domain.access import Credential
from app.domain.errors import BackendError, LumaError, OutcomeUnknown
from app.domain.generation import GenerateVideo
from app.services.limits.backend_limits import BackendLimits
from tests.support.acedata import NOW, QUICK, completed
from tests.support.certificates import server_context
from tests.support.clock import HandClock
from tests.support.raw_http import raw_server
from tests.support.telemetry import Notes

ONE, OTHER = Credential("tenant-a", "token-a"), Credential("tenant-b", "token-b")
COMMAND = GenerateVideo("A fox")


def response_bytes(body: Any) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(content),
        content,
    )


def chunked(body: Any, size: int = 7) -> bytes:
    """Return chunks of `size` bytes each, and the last chunk, without the end of the trailer."""
    content = json.dumps(body, indent=1).encode()
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x;of=%d\r\n%s\r\n" % (len(part), len(parts), part) for part in parts) + b"0\r\n"


def stray_responses() -> bytes:
    """Return an unrequested response: of a submission, and of a read."""
    return response_bytes({"task_id": "of-another-tenant", **completed("of-another-tenant")})


class AdapterOverSockets:
    """The adapter with the HTTP clients of the service, connected to a raw server."""

    def __init__(self, url: str, certificate: str = "") -> None:
        environment = {"SSL_CERT_FILE": certificate}
        self._clients = [
            BackendHttp(url, user_agent="tests", connections=4, environment=environment, keeps_connections=kept)
            for kept in (True, False)
        ]
        reads, purchases = self._clients
        client = AceDataClient(
            reads, Notes(), QUICK, BackendLimits(HandClock(), GENERATIONS_AT_ONCE), submission_http=purchases
        )
        self.adapter = AceDataBackend(client, lambda: NOW)

    async def __aenter__(self) -> AceDataBackend:
        return self.adapter

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()


SURPLUS = pytest.mark.parametrize(
    "surplus",
    [
        stray_responses,
        lambda: b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
        lambda: b"\r\n\r\n",
        lambda: b"x",
        lambda: b'{"task_id": "of-another-tenant"}',
    ],
    ids=["an answer", "a refusal", "blank lines", "a byte", "a body"],
)


@SURPLUS
async def test_bytes_after_a_response_are_never_read_as_another_response(surplus: Callable[[], bytes]) -> None:
    async def misbehave(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        if "prompt" in body:
            writer.write(response_bytes({"task_id": "own"}) + surplus())
        else:
            writer.write(response_bytes(completed(body["id"])) + surplus())
        await writer.drain()

    async with raw_server(misbehave) as server, AdapterOverSockets(server.url) as adapter:
        for number in range(4):
            found = await adapter.find_tasks(ONE if number % 2 else OTHER, [f"task-{number}"])
            assert list(found.answers) == [f"task-{number}"]
            task = found.answers[f"task-{number}"]
            assert not isinstance(task, LumaError | None), task
            assert await adapter.submit(OTHER if number % 2 else ONE, COMMAND) == "own"
        assert server.connections == 8, "each connection ended with what nobody had asked for"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    return server_context(tmp_path_factory.mktemp("certificates"))


def padded(task_id: str, length: int) -> bytes:
    """Return a response of `length` bytes, including its head."""
    short = response_bytes(completed(task_id, filler=""))
    digits = len(str(length)) - len(str(len(short)))
    return response_bytes(completed(task_id, filler="x" * (length - len(short) - digits)))


async def read_in_turns(adapter: AceDataBackend, readings: int = 4) -> None:
    """Read different tasks, each for another tenant."""
    for number in range(readings):
        found = await adapter.find_tasks(ONE if number % 2 else OTHER, [f"task-{number}"])
        task = found.answers[f"task-{number}"]
        assert not isinstance(task, LumaError | None), task
        assert task.id == f"task-{number}"


@SURPLUS
async def test_a_tls_record_after_a_response_is_discarded(
    surplus: Callable[[], bytes], tls: tuple[ssl.SSLContext, str]
) -> None:
    context, certificate = tls

    async def misbehave(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        writer.writelines([response_bytes(completed(body["id"])), surplus()])  # two records in one segment
        await writer.drain()

    async with raw_server(misbehave, context) as server, AdapterOverSockets(server.url, certificate) as adapter:
        await read_in_turns(adapter)
        assert server.connections == 4


@SURPLUS
@pytest.mark.parametrize("length", [16_384, 65_536])
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "TLS"])
async def test_bytes_after_a_full_buffer_are_discarded(
    surplus: Callable[[], bytes], length: int, tls: tuple[ssl.SSLContext, str], *, is_encrypted: bool
) -> None:
    context, certificate = tls

    async def misbehave(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        content = padded(body["id"], length)
        assert len(content) == length
        writer.write(content + surplus())
        await writer.drain()

    async with (
        raw_server(misbehave, context if is_encrypted else None) as server,
        AdapterOverSockets(server.url, certificate) as adapter,
    ):
        await read_in_turns(adapter)
        assert server.connections == 4


@SURPLUS
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "TLS"])
async def test_bytes_received_on_an_idle_connection_are_discarded(
    surplus: Callable[[], bytes], tls: tuple[ssl.SSLContext, str], *, is_encrypted: bool
) -> None:
    context, certificate = tls
    writers: list[asyncio.StreamWriter] = []

    async def behave(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        writers.append(writer)
        writer.write(response_bytes(completed(body["id"])))
        await writer.drain()

    async with (
        raw_server(behave, context if is_encrypted else None) as server,
        AdapterOverSockets(server.url, certificate) as adapter,
    ):
        await read_in_turns(adapter, 2)
        assert server.connections == 1
        writers[-1].write(surplus())
        await writers[-1].drain()
        await read_in_turns(adapter, 2)
        assert server.connections == 2


async def test_a_tls_connection_is_reused(tls: tuple[ssl.SSLContext, str]) -> None:
    context, certificate = tls

    async def behave(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        writer.write(padded(body["id"], 65_536))
        await writer.drain()

    async with raw_server(behave, context) as server, AdapterOverSockets(server.url, certificate) as adapter:
        await read_in_turns(adapter)
        assert server.connections == 1


HEADS = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"


@pytest.mark.parametrize("parts", [1, 7, 1_000_000], ids=["byte by byte", "in sevens", "at once"])
async def test_a_body_may_contain_status_lines(parts: int) -> None:
    body = completed("task-0", echo="\nHTTP/1.1 100 Continue" * 100, other=["HTTP/1.1 100"] * 100)
    content = HEADS * 3 + response_bytes(body)

    async def misbehave(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        for start in range(0, len(content), parts):
            writer.write(content[start : start + parts])
            await writer.drain()
            await asyncio.sleep(0)  # a turn of the loop, in which the client may read

    async with raw_server(misbehave) as server, AdapterOverSockets(server.url) as adapter:
        found = await adapter.find_tasks(ONE, ["task-0"])
        assert not isinstance(found.answers["task-0"], LumaError | None)


async def test_a_body_may_contain_the_field_of_a_chunked_coding() -> None:
    content = b"<pre>\nTransfer-Encoding: chunked\n</pre>"

    async def answer(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))
        await writer.drain()

    async with raw_server(answer) as server, httpx.AsyncClient(transport=CheckedTransport()) as client:
        assert (await client.post(server.url, json={})).content == content


class WriteRecorder(httpcore.AsyncMockStream):
    """A network stream that keeps what is written to it, and receives `received` with each read."""

    def __init__(self, received: bytes) -> None:
        super().__init__([])
        self.written: list[bytes] = []
        self._received = received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's interface
        self.written.append(buffer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as above
        return self._received


class Recorders(httpcore.AsyncMockBackend):
    """A network in which each connection is a WriteRecorder."""

    def __init__(self) -> None:
        super().__init__([])
        self.streams: list[WriteRecorder] = []

    async def connect_tcp(self, *_args: Any, **_options: Any) -> WriteRecorder:
        self.streams.append(WriteRecorder(b"HTTP/1.1 204 No Content\r\n\r\n"))
        return self.streams[-1]


@pytest.mark.parametrize(("method", "body"), [("POST", b"the body"), ("POST", b""), ("GET", None)])
async def test_head_and_body_of_a_request_are_one_write(method: str, body: bytes | None) -> None:
    network = Recorders()
    async with httpx.AsyncClient(transport=CheckedTransport(network=network)) as client:
        for _ in range(2):  # a connection that is not one of the kernel is never taken for one without unread bytes
            await client.request(method, "http://backend", content=body)
    assert len(network.streams) == 2
    for stream in network.streams:
        [request] = filter(None, stream.written)
        assert request.partition(b"\r\n\r\n")[1:] == (b"\r\n\r\n", body or b"")


async def test_a_connection_is_reused_for_reads_and_never_for_submissions() -> None:
    async def behave(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        writer.write(response_bytes({"task_id": "own"} if "prompt" in body else completed(body["id"])))
        await writer.drain()

    async with raw_server(behave) as server, AdapterOverSockets(server.url) as adapter:
        for number in range(3):
            await adapter.find_tasks(ONE, [f"task-{number}"])
        assert server.connections == 1
        for _ in range(3):
            assert await adapter.submit(ONE, COMMAND) == "own"
        assert server.connections == 4


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
async def test_a_chunked_body_is_read_in_any_split(step: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nvary: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n"
    sent = head + chunked({"items": [completed("task-0")], "count": 1}, 1000 // step) + b"x-sum: 1\r\n" * 20 + b"\r\n"

    async def answer_in_parts(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        for at in range(0, len(sent), step):
            writer.write(sent[at : at + step])
            await writer.drain()

    async with raw_server(answer_in_parts) as server, AdapterOverSockets(server.url) as adapter:
        found = await adapter.find_tasks(ONE, ["task-0"])
    assert not isinstance(found.answers["task-0"], LumaError | None)


ENDLESS = {
    "interim answers": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 100_000,
    "tiny chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 300_000,
    "tiny fields": response_bytes(completed("task-0")).replace(b"\r\n", b"\r\n" + b"a:\r\n" * 500, 1),
    "a trailer of tiny fields": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + chunked(completed("task-0"))
    + b"a:\r\n" * 500
    + b"\r\n",
    "a folded coding and a trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"
    + chunked(completed("task-0"))
    + b"a:\r\n" * 500
    + b"\r\n",
    "the size of a chunk in a long line": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;"
    + b"x" * 5000
    + b"\r\n"
    + chunked(completed("task-0"))
    + b"\r\n",
    "many records": response_bytes({"items": [completed("task-0") for _ in range(40)], "count": 40}),
    "many objects": response_bytes({"items": [{}] * 15_000, "count": 1}),
    "far more than one task needs": response_bytes({**completed("task-0"), "more": "x" * 300_000}),
}


@pytest.mark.parametrize("case", ENDLESS)
async def test_an_endless_response_is_a_backend_error(case: str) -> None:
    async def misbehave(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        writer.write(ENDLESS[case])
        await writer.drain()
        writer.close()

    async with raw_server(misbehave) as server, AdapterOverSockets(server.url) as adapter:
        found = await adapter.find_tasks(ONE, ["task-0"])
        assert isinstance(found.answers["task-0"], BackendError)
        with pytest.raises(OutcomeUnknown):
            await adapter.submit(ONE, COMMAND)


@pytest.mark.parametrize("location", ["data:,x", "http://xn--a/", "http://[::1", "//", "http://10.0.0.1/"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_neither_followed_nor_parsed(location: str, status: int) -> None:
    async def misbehave(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        head = f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()

    async with raw_server(misbehave) as server, AdapterOverSockets(server.url) as adapter:
        found = await adapter.find_tasks(ONE, ["task-0"])
        assert isinstance(found.answers["task-0"], BackendError)
        with pytest.raises(OutcomeUnknown):
            await adapter.submit(ONE, COMMAND)


NO_TLS = {
    "a record that nobody can decrypt": b"\x17\x03\x03\x00\x20" + b"x" * 32,
    "an alert in the clear": b"\x15\x03\x03\x00\x02\x02\x28",
    "plain HTTP": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"], ids=["at once", "halfway"])
@pytest.mark.parametrize("case", NO_TLS)
async def test_a_tls_error_is_reported_as_a_broken_connection(
    case: str, start: bytes, tls: tuple[ssl.SSLContext, str], caplog: pytest.LogCaptureFixture
) -> None:
    context, certificate = tls

    async def misbehave(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        writer.write(start)
        await writer.drain()
        os.write(writer.get_extra_info("socket").fileno(), NO_TLS[case])  # past the encryption

    async with raw_server(misbehave, context) as server, AdapterOverSockets(server.url, certificate) as adapter:
        found = await adapter.find_tasks(ONE, ["task-0"])
        assert type(found.answers["task-0"]) is BackendError
        with pytest.raises(OutcomeUnknown):
            await adapter.submit(ONE, COMMAND)
    assert [one for one in caplog.records if one.levelname == "ERROR"] == [], "it is nothing unexpected"


async def test_a_complete_response_is_valid_if_the_connection_breaks_afterwards(
    tls: tuple[ssl.SSLContext, str],
) -> None:
    context, certificate = tls

    async def misbehave(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        writer.write(response_bytes({"task_id": "own"}))
        await writer.drain()
        os.write(writer.get_extra_info("socket").fileno(), NO_TLS["an alert in the clear"])

    async with raw_server(misbehave, context) as server, AdapterOverSockets(server.url, certificate) as adapter:
        assert await adapter.submit(ONE, COMMAND) == "own"
