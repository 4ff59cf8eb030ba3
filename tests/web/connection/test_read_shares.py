"""ReadShares: costly reads get a part of the time, and connections with most of them are held."""

import asyncio

import pytest

from app.web.connection.read_shares import BURST_SECONDS, SHARE, UNIT_SECONDS, WINDOW_SECONDS, ReadFlow, ReadShares
from tests.support.clock import HandClock
from tests.support.raw_client import answers_in
from tests.web.connection.test_limits import GET, port_of, serving_with


class Connection:
    spent_until, read_window = 0.0, -1


class Transport(asyncio.Transport):
    """A transport that records whether it is read."""

    is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def test_a_single_connection_is_held_until_its_reads_took_no_more_than_the_share() -> None:
    shares, connection = ReadShares(HandClock()), Connection()
    work = round(10 * BURST_SECONDS / UNIT_SECONDS)
    assert shares.charge(connection, work) == pytest.approx(10 * BURST_SECONDS / SHARE)
    assert shares.charge(connection, work) == pytest.approx(20 * BURST_SECONDS / SHARE)


def test_a_small_read_is_not_held() -> None:
    shares = ReadShares(HandClock())
    assert shares.charge(Connection(), 100) == 0.0


def test_the_reads_of_many_connections_take_no_more_than_the_share() -> None:
    clock = HandClock()
    shares, work, readers = ReadShares(clock), 100, 2_000
    connections = [Connection() for _ in range(readers)]
    reads, began = 0, clock.now
    held: dict[Connection, float] = {}
    while clock.now < began + 10:
        for connection in connections:
            if held.get(connection, 0.0) <= clock.now:
                shares.held_count -= held.pop(connection, None) is not None
                reads += 1
                if wait := shares.charge(connection, work):
                    held[connection] = clock.now + wait
                    shares.held_count += 1
        clock.advance(WINDOW_SECONDS / 10)
    assert reads * work * UNIT_SECONDS <= 1.5 * SHARE * 10


def test_a_held_connection_is_not_read_although_it_is_resumed() -> None:
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
    async with serving_with() as service, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        for at in range(len(request)):
            writer.write(request[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        [answer] = answers_in(await reader.read())
        assert answer.status == 200
        writer.close()
