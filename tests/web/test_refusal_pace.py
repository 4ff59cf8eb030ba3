"""Refusals are held back one after another, and nothing else of their connection is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Scope

from app.composition.application import assemble
from app.web.app import create_app
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.refusal_pace import MAX_PAUSE_SECONDS, REFUSALS_PER_SECOND, REFUSED_CALL_COST, RefusalPace
from tests.support.clock import HandClock
from tests.support.raw_http import answer_head, reset
from tests.support.service import listening, settings

OTHER_PATH = b"GET /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
PAGE = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


class Sleeps:
    """A `sleep` that ends when the test says so, and the seconds that were asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.began, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.began.set()
        await self.may_end.wait()


def scope() -> Scope:
    return {"type": "http", "path": "/mcp", "headers": [], DISCONNECT_SIGNAL: DisconnectSignal()}


async def seconds_held(clock: HandClock, costs: list[int]) -> list[float]:
    """Return how long refusals of requests with these costs are held back."""
    sleeps = Sleeps()
    sleeps.may_end.set()
    pace = RefusalPace(clock, sleeps)
    for cost in costs:
        await pace.hold_back(scope(), cost)
    return sleeps.seconds


async def test_refusals_are_sent_one_after_another(clock: HandClock) -> None:
    expected = [number / REFUSALS_PER_SECOND for number in range(1, 1001)]
    assert await seconds_held(clock, [1] * 1000) == pytest.approx(expected, abs=1e-3)
    assert await seconds_held(clock, [1, REFUSED_CALL_COST]) == pytest.approx(
        [1 / REFUSALS_PER_SECOND, (1 + REFUSED_CALL_COST) / REFUSALS_PER_SECOND], abs=1e-3
    )


async def test_a_refusal_is_held_back_for_a_limited_time(clock: HandClock) -> None:
    assert max(await seconds_held(clock, [1] * 3000)) == MAX_PAUSE_SECONDS


async def test_refused_calls_of_one_request_are_held_back_for_a_limited_time_together(clock: HandClock) -> None:
    one, waits = scope(), list[float]()  # the calls of an array have a copy of the scope each

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    pace = RefusalPace(clock, sleep)
    for _ in range(20):
        await pace.hold_back({**one}, 3000)
    assert sum(waits) == pytest.approx(MAX_PAUSE_SECONDS)


async def test_refusals_that_come_later_are_not_held_back_for_earlier_ones(clock: HandClock) -> None:
    sleeps = Sleeps()
    sleeps.may_end.set()
    pace = RefusalPace(clock, sleeps)
    for _ in range(1000):
        await pace.hold_back(scope())
    clock.advance(10)
    await pace.hold_back(scope())
    assert sleeps.seconds[-1] == pytest.approx(1 / REFUSALS_PER_SECOND, abs=1e-3)


@asynccontextmanager
async def connected(sleeps: Sleeps) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a service whose refusals are held back by `sleeps`."""
    values = settings(auth="keys")
    app = create_app(values, assemble(values, base_url=""), pace=RefusalPace(sleep=sleeps))
    async with listening(app) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        yield reader, writer
        writer.close()


async def read_response(reader: asyncio.StreamReader) -> int:
    status, size = await answer_head(reader)
    await reader.readexactly(size)
    return status


async def test_the_next_request_of_a_connection_is_answered_at_once() -> None:
    """A reverse proxy sends requests of other clients on the connection of a refused one."""
    sleeps = Sleeps()
    async with connected(sleeps) as (reader, writer):
        writer.write(OTHER_PATH)
        await sleeps.began.wait()
        sleeps.may_end.set()
        assert await read_response(reader) == 404
        sleeps.may_end.clear()
        writer.write(PAGE)
        assert await read_response(reader) == 200
    assert len(sleeps.seconds) == 1


async def test_a_client_that_leaves_is_not_held_back() -> None:
    sleeps = Sleeps()
    async with connected(sleeps) as (_, writer):
        writer.write(OTHER_PATH)
        await sleeps.began.wait()
        reset(writer)
    assert not sleeps.may_end.is_set(), "the service has stopped although the refusal was never sent"
