"""What all connections hold together is bounded, and the caller who holds most pays for it."""

import asyncio
import socket

import pytest

from app.web.connection_memory import MOST_CONNECTION_BYTES, ConnectionMemory
from app.web.connection_timer import LEAST_PROGRESS_BYTES, untaken_bytes


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
