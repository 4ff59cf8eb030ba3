"""A manual clock, so that tests of timeouts and schedules do not wait in real time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy import ColumnElement, Float, literal

from app.composition.clocks import Clocks

T = TypeVar("T")


class HandClock:
    """A clock that moves only by `advance`: wall time, monotonic time, `sleep` and the database's time at once.

    Calling it returns the time (unix seconds).
    """

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now
        self._sleepers: dict[asyncio.Future[None], float] = {}

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by `seconds`."""
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[waking] = self.now + seconds
        try:
            await waking
        finally:
            self._sleepers.pop(waking, None)

    def advance(self, seconds: float) -> None:
        """Move the time forward and wake the sleepers that are due."""
        self.now += seconds
        for waking, until in list(self._sleepers.items()):
            if until <= self.now and not waking.done():
                waking.set_result(None)

    @property
    def sleepers(self) -> int:
        """The number of calls of `sleep` that have not returned."""
        return len(self._sleepers)

    def sql(self) -> ColumnElement[float]:
        """Return the time as an SQL expression (unix seconds)."""
        return literal(self.now, Float(53))

    @property
    def clocks(self) -> Clocks:
        """The application's clocks, all of them this one."""
        return Clocks(wall=self, monotonic=self, sleep=self.sleep, database=self.sql)


def _never() -> bool:
    return False


async def while_time_passes(
    clock: HandClock, waiting: Awaitable[T], *, step: float = 1.0, is_busy: Callable[[], bool] = _never
) -> T:
    """Advance the clock by `step` seconds, and let the event loop run, until `waiting` is done; return its result.

    The clock stands still while `is_busy`, as during an operation on a real database, which a loaded machine prolongs.
    """
    task = asyncio.ensure_future(waiting)
    while not task.done():
        for _ in range(40):
            await asyncio.sleep(0)
        await asyncio.wait([task], timeout=0.01)
        if not is_busy():
            clock.advance(step)
    return await task
