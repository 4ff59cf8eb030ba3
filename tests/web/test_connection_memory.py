"""What all connections hold together is bounded, and the caller who holds most pays for it."""

import asyncio
import gc
import socket
from contextlib import AsyncExitStack, suppress
from urllib.parse import urlsplit

import pytest

from app.web.connection_memory import MOST_CONNECTION_BYTES, ConnectionMemory
from app.web.connection_timer import LEAST_PROGRESS_BYTES, untaken_bytes
from app.web.connections import Connections
from tests.support.clock import HandClock
from tests.support.service import call_bytes, sandbox, serving, settings


class One:
    """A connection that holds `held` bytes."""

    def __init__(self, ended: list["One"], held: int) -> None:
        self.held = held
        self._ended = ended

    def held_bytes(self) -> int:
        return self.held

    def make_room(self) -> None:
        self._ended.append(self)


async def test_heads_that_do_not_end_are_bounded_in_all_and_the_oldest_go_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended, counted = list[One](), list[None]()
    memory = ConnectionMemory(ended=lambda: counted.append(None))
    connections = [One(ended, 32_000) for _ in range(2000)]
    for one in connections:
        memory.hold(one, "", 20_000)
        memory.hold(one, "", 32_000)
    assert ended == connections[: len(ended)]
    assert len(ended) == len(counted) == 2000 - MOST_CONNECTION_BYTES // 32_000
    assert len(caplog.records) == 1
    assert memory.total <= MOST_CONNECTION_BYTES
    for one in connections[len(ended) :]:
        memory.release(one)
    assert memory.total == 0


async def test_the_caller_who_holds_most_pays_and_one_that_holds_less_keeps_all() -> None:
    memory, ended = ConnectionMemory("honest".__eq__), list[One]()
    honest, idle = One(ended, 500_000), One([], 20_000)
    memory.hold(honest, "honest", 500_000)
    memory.hold(idle, "", 20_000)
    for number in range(4000):
        memory.hold(One(ended, 30_000), f"invented-{number % 900}", 30_000)
    assert len(ended) > 2000
    assert honest not in ended
    assert memory.total <= MOST_CONNECTION_BYTES


async def test_a_connection_that_holds_less_by_now_is_counted_anew_instead_of_ended() -> None:
    memory, ended = ConnectionMemory(), list[One]()
    read, gone = One(ended, 1_000), One(ended, 0)
    memory.hold(read, "", MOST_CONNECTION_BYTES // 2)
    memory.hold(gone, "", MOST_CONNECTION_BYTES // 2)
    memory.hold(One(ended, 1_000_000), "", 1_000_000)
    memory.hold(One(ended, MOST_CONNECTION_BYTES // 2), "", MOST_CONNECTION_BYTES // 2)
    assert not ended
    assert memory.total == MOST_CONNECTION_BYTES // 2 + 1_000_000 + 1_000


async def test_bytes_that_a_slow_reader_takes_from_the_system_are_progress() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        accepted, _ = listening.accept()
        _, writer = await asyncio.open_connection(sock=accepted)
        transport = writer.transport
        transport.write(b"x" * 16_000_000)
        waiting, before = transport.get_write_buffer_size(), untaken_bytes(transport)
        assert before > waiting > 0
        while untaken_bytes(transport) > before - LEAST_PROGRESS_BYTES:
            client.recv(1024)
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() == waiting, "the system has taken nothing more from this process"
        transport.abort()


async def test_requests_that_wait_count_with_what_their_headers_take(clock: HandClock) -> None:
    """Short headers take far more than their letters: 200 connections hold 60 MB, and 2 MB of letters."""
    fields = "".join(f"h{number}: b\r\n" for number in range(90))
    waiting = f"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n".encode() * 15
    async with serving(settings(), sandbox(clock), clock) as service, AsyncExitStack() as stack:
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        readers = []
        for number in range(200):
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port or 0)
            stack.callback(writer.close)
            asked = {"task_id": task_id, "wait_seconds": 50}
            writer.write(call_bytes("luma_get_task", asked, f"token-{number % 4}") + waiting)
            readers.append(reader)
        ends = [asyncio.ensure_future(_end_of(reader)) for reader in readers]
        async with asyncio.timeout(20):
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await asyncio.wait(ends)


async def _end_of(reader: asyncio.StreamReader) -> None:
    """Return when the service has ended the connection."""
    with suppress(ConnectionError):
        while await reader.read(65_536):
            continue


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half",
        b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
    ],
    ids=["silent", "answered", "half a head", "half a body"],
)
async def test_a_connection_that_has_ended_needs_no_garbage_collector(clock: HandClock, sent: bytes) -> None:
    async with serving(settings(), sandbox(clock), clock) as service, asyncio.timeout(20):
        gc.collect()
        gc.disable()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port or 0)
            writer.write(sent)
            while _connections() < 1:
                await asyncio.sleep(0.001)
            writer.close()
            while _connections():
                await asyncio.sleep(0.001)
        finally:
            gc.enable()


def _connections() -> int:
    return sum(isinstance(one, Connections) for one in gc.get_objects())
