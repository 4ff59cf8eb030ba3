"""Bytes that complete no small request share a part of the time, and the connections that send most of them wait."""

import asyncio

import pytest

from app.web.connection.read_shares import BURST_SECONDS, SHARE, UNIT_SECONDS, WINDOW_SECONDS, ReadFlow, ReadShares
from tests.support.clock import HandClock
from tests.support.raw_client import answers_in
from tests.web.connection.test_limits import GET, hasty, port_of


class Connection:
    paid_until, read_window = 0.0, -1


class Transport(asyncio.Transport):
    """Records whether it is read."""

    is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def test_a_connection_alone_waits_for_the_rest_of_the_time_that_its_reads_took() -> None:
    shares, connection = ReadShares(HandClock()), Connection()
    work = round(10 * BURST_SECONDS / UNIT_SECONDS)
    assert shares.charge(connection, work) == pytest.approx(10 * BURST_SECONDS / SHARE)
    assert shares.charge(connection, work) == pytest.approx(20 * BURST_SECONDS / SHARE)


def test_a_few_small_reads_do_not_wait() -> None:
    shares = ReadShares(HandClock())
    assert shares.charge(Connection(), 100) == 0.0


def test_all_reads_together_take_their_share_however_many_connections_there_are() -> None:
    clock = HandClock()
    shares, work, readers = ReadShares(clock), 100, 2_000
    connections = [Connection() for _ in range(readers)]
    reads, began = 0, clock.now
    held: dict[Connection, float] = {}
    while clock.now < began + 10:
        for connection in connections:
            if held.get(connection, 0.0) <= clock.now:
                shares.held -= held.pop(connection, None) is not None
                reads += 1
                if wait := shares.charge(connection, work):
                    held[connection] = clock.now + wait
                    shares.held += 1
        clock.advance(WINDOW_SECONDS / 10)
    assert reads * work * UNIT_SECONDS <= 1.5 * SHARE * 10


def test_a_held_connection_is_not_read_whoever_resumes_it() -> None:
    transport = Transport()
    flow = ReadFlow(transport)
    flow.hold()
    flow.pause_reading()
    flow.resume_reading()
    assert not transport.is_read
    flow.release()
    assert transport.is_read
    flow.pause_reading()
    flow.hold()
    flow.release()
    assert not transport.is_read


async def test_a_request_in_many_packets_is_answered() -> None:
    request = GET + b"Connection: close\r\n\r\n"
    async with hasty() as service, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        for at in range(len(request)):
            writer.write(request[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        [answer] = answers_in(await reader.read())
        assert answer.status == 200
        writer.close()
