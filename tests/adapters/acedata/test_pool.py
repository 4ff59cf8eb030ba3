"""The connections that all tenants share keep nothing of one tenant's requests and responses."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import ValidationError

from app.adapters.acedata.backend import AceDataBackend
from app.adapters.acedata.client import AceDataClient
from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.adapters.acedata.pool import RECEIVE_BUFFER_BYTES, BackendHttp
from app.domain.access import Credential
from app.domain.task import Task
from app.services.limits.backend_limits import BackendLimits
from app.settings import Settings
from tests.support.acedata import CREDENTIAL, NOW, QUICK
from tests.support.telemetry import Notes

OTHER = Credential("tenant-b", "token-b")
RECORD = b'{"id": "task-0", "response": {"state": "processing"}}'


class HeadRecorder:
    """A server that records the heads of requests, and returns `answers` in turn, repeating the last one."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.heads: list[bytes] = []
        self.connections = 0
        self.answered = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
                self.heads.append(head)
                writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])
                await writer.drain()
                self.answered.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()


def answer(body: bytes = RECORD, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)


@asynccontextmanager
async def adapter_to(recorder: HeadRecorder) -> AsyncIterator[AceDataBackend]:
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    recorder.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with BackendHttp(recorder.url, user_agent="tests", connections=4) as http:
        yield AceDataBackend(
            AceDataClient(http, Notes(), QUICK, BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE)), lambda: NOW
        )
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "cookies",
    [
        b"set-cookie: session=of-tenant-a\r\n",
        b"set-cookie: session=of-tenant-a; Path=/; Max-Age=100000\r\nset-cookie2: a=b; Version=1\r\n",
        b"set-cookie: a=" + b"x" * 10_000 + b"\r\n",
        b"".join(b"set-cookie: a%d=%s; Path=/\r\n" % (number, b"x" * 1000) for number in range(10)),
    ],
    ids=["one", "with attributes", "10 KB in one", "10 KB in ten"],
)
async def test_a_cookie_of_a_response_is_never_sent(cookies: bytes) -> None:
    recorder = HeadRecorder(answer(headers=cookies))
    async with adapter_to(recorder) as adapter:
        for principal in (CREDENTIAL, OTHER, CREDENTIAL):
            assert isinstance((await adapter.find_tasks(principal, ["task-0"])).answers["task-0"], Task)
    assert len(recorder.heads) == 3
    assert not any(b"\r\ncookie" in head for head in recorder.heads)


async def test_a_redirect_is_not_followed() -> None:
    target = HeadRecorder(answer())
    async with adapter_to(target):
        redirect = b"location: %s/elsewhere\r\n" % target.url.encode()
        recorder = HeadRecorder(answer(b"", b"307 Temporary Redirect", redirect))
        async with adapter_to(recorder) as adapter:
            assert not isinstance((await adapter.find_tasks(CREDENTIAL, ["task-0"])).answers["task-0"], Task)
    assert target.heads == []


async def test_a_connection_with_a_partly_read_response_is_not_reused() -> None:
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + RECORD
    recorder = HeadRecorder(half, answer())
    async with adapter_to(recorder) as adapter:
        leaver = asyncio.create_task(adapter.find_tasks(CREDENTIAL, ["task-0"]))
        await recorder.answered.wait()
        leaver.cancel()
        await asyncio.wait([leaver])
        result = await adapter.find_tasks(OTHER, ["task-0"])
    assert isinstance(result.answers["task-0"], Task)
    assert recorder.connections == 2


async def test_each_request_has_the_token_of_its_own_tenant() -> None:
    recorder = HeadRecorder(answer())
    async with adapter_to(recorder) as adapter:
        for principal in (CREDENTIAL, OTHER):
            await adapter.find_tasks(principal, ["task-0"])
    assert [head.count(b"authorization: bearer token-") for head in recorder.heads] == [1, 1]
    assert b"token-a" in recorder.heads[0]
    assert b"token-b" in recorder.heads[1]
    assert b"basic" not in b"".join(recorder.heads)
    assert all(b"\r\naccept-encoding: gzip\r\n" in head for head in recorder.heads)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8000", "http://127.0.0.1", "http://127.8.9.1:1/base", "http://[::1]:8000", "https://a.example"],
)
def test_the_backend_is_reached_over_tls_or_on_loopback(url: str) -> None:
    assert Settings(_env_file=None, acedata_url=url).acedata_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.acedata.cloud",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://2130706433",
        "http://localhost@evil.example",
        "https://user:secret@api.acedata.cloud",
    ],
)
def test_a_backend_url_that_would_show_or_replace_tokens_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="tokens"):
        Settings(_env_file=None, acedata_url=url)


async def test_the_receive_buffer_is_smaller_than_one_read_of_the_event_loop() -> None:
    """If a read fills its buffer, uvloop repeats it up to 32 times before the service can count the bytes."""
    recorder = HeadRecorder(answer())
    async with (
        adapter_to(recorder),
        BackendHttp(recorder.url, user_agent="tests", connections=1) as http,
    ):
        response = await http.send("POST", http.url("/luma/tasks"), json={}, timeouts=httpx.Timeout(30))
        stream = response.extensions["network_stream"]
        kept = stream.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        await response.aclose()
    assert kept in (RECEIVE_BUFFER_BYTES, 2 * RECEIVE_BUFFER_BYTES), "by itself it grows to megabytes under load"
