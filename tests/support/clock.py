"""A manual clock, so that tests of timeouts and schedules do not wait in real time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy import ColumnElement, Float, literal

from app.adapters.sql.engine import DatabaseTimeouts
from app.composition.clocks import Clocks

T = TypeVar("T")

PATIENT = DatabaseTimeouts(operation=60.0, busy=60.0)
"""For tests that are not about a slow database: a loaded machine prolongs its operations."""


class HandClock:
    """A clock that moves only by `advance`: wall time, monotonic time, `sleep` and the database's time at once.

    Calling it returns the time (unix seconds).
    """

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._holds: list[Callable[[], bool]] = []

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

    def hold_while(self, is_busy: Callable[[], bool]) -> None:
        """Let `while_time_passes` stop the clock while `is_busy`, as during an operation on a real database."""
        self._holds.append(is_busy)

    @property
    def is_held(self) -> bool:
        """Whether something is busy that the clock waits for."""
        return any(is_busy() for is_busy in self._holds)

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
        return Clocks(wall=self, monotonic=self, sleep=self.sleep, database=self.sql, database_timeouts=PATIENT)


async def while_time_passes(clock: HandClock, waiting: Awaitable[T], *, step: float = 1.0) -> T:
    """Advance the clock by `step` seconds, and let the event loop run, until `waiting` is done; return its result.

    The clock stands still while it is held.
    """
    task = asyncio.ensure_future(waiting)
    while not task.done():
        for _ in range(40):
            await asyncio.sleep(0)
        await asyncio.wait([task], timeout=0.01)
        if not clock.is_held:
            clock.advance(step)
    return await task
