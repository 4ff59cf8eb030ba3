"""SharedExposition: many requests cause few renderings, and none gets a result from before its request."""

import asyncio
import threading

import pytest

from app.observability.shared_exposition import MAX_WAITING, SharedExposition


class Rendering:
    """A `render` that waits in its thread until `may_end` is set, and returns the number of its call."""

    def __init__(self) -> None:
        self.calls = self.running = self.peak = 0
        self.may_end = threading.Event()

    def __call__(self) -> bytes:
        self.calls += 1
        self.running += 1
        self.peak = max(self.peak, self.running)
        self.may_end.wait(20)
        self.running -= 1
        return str(self.calls).encode()


async def test_requests_during_a_rendering_share_the_next_one() -> None:
    rendering = Rendering()
    exposition = SharedExposition(rendering)
    first = asyncio.create_task(exposition())
    while not rendering.calls:
        await asyncio.sleep(0)
    later = [asyncio.create_task(exposition()) for _ in range(100)]
    await asyncio.sleep(0)
    rendering.may_end.set()
    assert await first == b"1"
    assert set(await asyncio.gather(*later)) == {b"2"}
    assert (rendering.calls, rendering.peak) == (2, 1)


async def test_requests_beyond_those_that_may_wait_get_the_last_rendering_at_once() -> None:
    rendering = Rendering()
    rendering.may_end.set()
    exposition = SharedExposition(rendering)
    assert await exposition() == b"1"
    rendering.may_end.clear()
    waiting = [asyncio.create_task(exposition()) for _ in range(MAX_WAITING)]
    while rendering.calls < 2:
        await asyncio.sleep(0)
    assert {await exposition() for _ in range(10)} == {b"1"}
    rendering.may_end.set()
    assert set(await asyncio.gather(*waiting)) == {b"2"}
    assert await exposition() == b"3"


async def test_a_rendering_goes_on_when_one_of_its_requests_is_given_up() -> None:
    rendering = Rendering()
    exposition = SharedExposition(rendering)
    leaving, staying = (asyncio.create_task(exposition()) for _ in range(2))
    while not rendering.calls:
        await asyncio.sleep(0)
    leaving.cancel()
    rendering.may_end.set()
    assert await staying == b"1"


async def test_an_exception_reaches_its_requests_and_not_later_ones() -> None:
    failures = iter([LookupError("once")])

    def render() -> bytes:
        if (error := next(failures, None)) is not None:
            raise error
        return b"well"

    exposition = SharedExposition(render)
    with pytest.raises(LookupError):
        await exposition()
    assert await exposition() == b"well"
