"""Limits of connections: size of a head, timeouts for input and output, and the number of connections."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from app.web.connection.limits import IdleConnections, IdleKind
from tests.support.clock import HandClock
from tests.support.raw_client import answers_in, exchange
from tests.support.service import MODERN, Service, call_bytes, envelope, request_bytes, sandbox, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer token-a\r\nContent-Type: application/json\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(public_url="https://luma.example.com"), sandbox(clock), clock) as running:
        yield running


def serving_with(**values: Any) -> Any:
    """Serve a sandbox with these settings."""
    clock = HandClock()
    return serving(settings(**values), sandbox(clock), clock)


def port_of(service: Service) -> int:
    return urlsplit(service.url).port or 0


TOO_LARGE = {
    "one long header": (GET + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    "one long name": (GET + b"a" * 40_000 + b": a\r\n\r\n", 431),
    "many headers": (GET + b"X-A: a\r\n" * 101 + b"\r\n", 431),
    "long headers together": (GET + (b"X-A: " + b"a" * 500 + b"\r\n") * 80 + b"\r\n", 431),
    "a head without an end": (GET + b"X-A: " + b"a" * 40_000, 431),
    "line feeds only": (b"\r\n" * 20_000, 431),
    "a long URL": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 414),
    "a URL without an end": (b"GET /" + b"a" * 9_000, 414),
    "a chunk extension without an end": (START + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 40_000, 400),
    "a trailer behind a body in one read": (
        START + b"Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\nX: " + b"a" * 7_000,
        400,
    ),
    "a path beyond ASCII": (b"GET /%F0%9F%A6%8A" + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    "a trailer without an end": (START + b"Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\nX: " + b"a" * 80_000, 400),
}


@pytest.mark.parametrize("case", TOO_LARGE)
async def test_a_head_over_a_limit_is_refused_before_it_is_complete(service: Service, case: str) -> None:
    sent, status = TOO_LARGE[case]
    parts = [sent[at : at + 4_000] for at in range(0, len(sent), 4_000)]
    in_pieces = await exchange(service.url, *parts)
    at_once = (
        in_pieces if status == 400 else await exchange(service.url, sent)
    )  # an extension within one read is dropped
    for answers in (in_pieces, at_once):
        assert [answer.status for answer in answers] == [status]
        assert b"connection: close" in answers[0].head


async def test_a_head_within_the_limit_is_read(service: Service) -> None:
    sent = GET + (b"X-A: " + b"a" * 300 + b"\r\n") * 90 + b"Connection: close\r\n\r\n"
    assert [answer.status for answer in await exchange(service.url, sent)] == [200]


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"", []),
        (b"G", [408]),
        (GET, [408]),
        (START + b"Content-Length: 9\r\n\r\n{", [408]),
        (START + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", [408]),
        (START + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 9\r\n\r\n{", [408]),
        (GET + b"\r\n", [200]),
        (GET + b"\r\n" + GET, [200, 408]),
    ],
)
async def test_an_idle_or_half_sent_connection_is_closed(sent: bytes, statuses: list[int]) -> None:
    async with serving_with(keep_alive_seconds=0.2, head_seconds=0.2, body_seconds=0.2) as service:
        assert [answer.status for answer in await exchange(service.url, sent)] == statuses


@pytest.mark.parametrize("start", [GET + b"X-A: ", START + b"Content-Length: 100000\r\n\r\n"])
async def test_slowly_sent_bytes_do_not_extend_the_request_timeout(start: bytes) -> None:
    async with serving_with(head_seconds=0.3, body_seconds=0.3) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        writer.write(start)
        received = asyncio.ensure_future(reader.read())
        while not received.done():
            writer.write(b"a")
            await service.http.get(f"{service.url}/livez")
        [response] = answers_in(await received)
        error = json.loads(response.body)
        assert (response.status, error["jsonrpc"], error["id"]) == (408, "2.0", None)
        assert error["error"]["data"]["code"] == "request_timeout"
        assert len(error["error"]["message"]) > 20
        writer.close()


async def test_the_connection_of_a_client_that_does_not_read_is_closed() -> None:
    message, headers = envelope("tools/list", {}, MODERN)
    request = request_bytes(message, headers, "token-a")
    async with serving_with(write_seconds=0.3) as service, asyncio.timeout(60):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)  # noqa: FBT003 - the argument's own form
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port_of(service)))
            with pytest.raises(ConnectionError):
                await _send_for_ever(client, request, service)


async def _send_for_ever(client: socket.socket, request: bytes, service: Service) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(client, request)
        await service.http.get(f"{service.url}/livez")


async def test_connections_above_the_limit_get_503_but_probes_are_answered() -> None:
    async with serving_with(connections=2) as service, asyncio.timeout(20):
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        await service.http.aclose()  # its idle connection would be closed for a new one
        call = call_bytes("luma_get_task", {"task_id": task_id, "wait_seconds": 50}, "token-a")
        opened = [await asyncio.open_connection("127.0.0.1", port_of(service)) for _ in range(2)]
        for _reader, writer in opened:
            writer.write(call)
        while service.assembly.pollers.callers < 2:
            await asyncio.sleep(0.001)
        last = GET + b"Connection: close\r\n\r\n"
        refused = await exchange(service.url, last.replace(b"/livez", b"/"))
        assert [answer.status for answer in refused] == [503]
        assert b"retry-after" in refused[0].head
        assert [answer.status for answer in await exchange(service.url, last)] == [200]
        for _reader, writer in opened:
            writer.close()


HALF_BODY_WITHOUT_TOKEN = b"POST /callbacks/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"
HALF_BODY = START + b"Content-Length: 9\r\n\r\n{"


@pytest.mark.parametrize(
    "begun",
    [b"", GET, GET + b"\r\n", HALF_BODY_WITHOUT_TOKEN, HALF_BODY],
    ids=["silent", "half a head", "answered", "half a body without a token", "half a body"],
)
async def test_an_idle_connection_is_closed_for_a_new_one(begun: bytes) -> None:
    async with serving_with(connections=2) as service:
        opened = [await asyncio.open_connection("127.0.0.1", port_of(service)) for _ in range(2)]
        for reader, writer in opened:
            writer.write(GET + b"\r\n" + begun)
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        assert [answer.status for answer in await exchange(service.url, GET + b"Connection: close\r\n\r\n")] == [200]
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(opened[0][0].read(), 10)
        for _reader, writer in opened:
            writer.close()


async def test_half_bodies_without_a_token_are_closed_first_and_oldest_first() -> None:
    idle, ended = IdleConnections(), list[str]()

    class One:
        def __init__(self, name: str) -> None:
            self.make_room = lambda: ended.append(name)

    for kind in (IdleKind.PARTIAL_BODY, IdleKind.PARTIAL_BODY_WITHOUT_TOKEN, IdleKind.NO_REQUEST):
        for number in range(2):
            idle.move(One(f"{kind.name} {number}"), None, kind)
    idle.move(left := One("left"), None, IdleKind.ANSWERED)
    idle.move(left, IdleKind.ANSWERED, None)
    while idle.make_room():
        pass
    names = ("PARTIAL_BODY_WITHOUT_TOKEN", "NO_REQUEST", "PARTIAL_BODY")
    assert ended == [f"{name} {number}" for name in names for number in range(2)]


async def test_connections_are_closed_in_the_order_of_their_priority() -> None:
    answered = b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"
    ended: dict[bytes, asyncio.Future[bytes]] = {}
    async with serving_with(connections=3) as service, asyncio.timeout(20):
        writers = []
        for kind in (HALF_BODY, b"", answered):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
            writer.write(GET + b"\r\n" + kind)
            await reader.readuntil(b" 200 ")
            if kind is answered:
                await reader.readuntil(b" 404 ")
            ended[kind] = asyncio.ensure_future(reader.read())
            writers.append(writer)
        for kind in (answered, b""):
            assert not ended[kind].done()
            writers.append((await asyncio.open_connection("127.0.0.1", port_of(service)))[1])
            await asyncio.wait([ended[kind]])
        assert not ended[HALF_BODY].done()
        for writer in writers:
            writer.close()
    await asyncio.gather(*ended.values(), return_exceptions=True)


async def test_refusals_are_counted_each_time_and_logged_once(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    before = await count(service, 'luma_mcp_http_refusals_total{status="501"}')
    for _ in range(20):
        await exchange(service.url, GET.replace(b"GET", b"SUBSCRIBE") + b"\r\n")
    assert await count(service, 'luma_mcp_http_refusals_total{status="501"}') == before + 20
    assert len([line for line in caplog.messages if "501" in line]) <= 1


@pytest.mark.parametrize("name", ["wait_seconds", "wait\\u005fseconds", "\\u0077ait_seconds"])
async def test_a_disconnect_ends_a_wait_in_any_spelling_of_its_argument(name: str) -> None:
    clock = HandClock()
    async with serving(settings(), sandbox(clock), clock) as service, asyncio.timeout(20):
        task = await service.ask("luma_generate_video", {"prompt": "A fox"})
        sent = call_bytes("luma_get_task", {"task_id": task["task_id"], "wait_seconds": 50}, "token-a")
        head, _, body = sent.partition(b"\r\n\r\n")
        spelt = body.replace(b"wait_seconds", name.encode())
        head = head.replace(b"content-length: %d" % len(body), b"content-length: %d" % len(spelt))
        _reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        writer.write(head + b"\r\n\r\n" + spelt)
        while not clock.sleepers:
            await service.http.get(f"{service.url}/livez")
        writer.close()
        while not await count(service, 'outcome="cancelled"'):
            await service.http.get(f"{service.url}/livez")
        assert service.assembly.pollers.callers == 0


async def test_a_progress_token_is_noticed_in_any_spelling(service: Service) -> None:
    message, headers = envelope("tools/call", {"name": "luma_list_actions", "arguments": {}}, "2025-11-25")
    message["params"]["_meta"] = {"progressToken": "p"}
    content = json.dumps(message).replace("progressToken", "progress\\u0054oken")
    sent = {**headers, "authorization": "Bearer token-a", "accept": "application/json, text/event-stream"}
    sent["content-type"] = "application/json"
    response = await service.http.post(f"{service.url}/mcp", content=content, headers=sent)
    assert response.headers["content-type"].startswith("text/event-stream")


async def count(service: Service, series: str) -> float:
    text = (await service.http.get(f"{service.url}/metrics")).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if series in line)
