"""A clock that tests set, so that no test waits."""

import asyncio

from app.bootstrap import Clocks


class HandClock:
    """Unix seconds and monotonic seconds that move together, by hand; who sleeps wakes when they have moved enough."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now
        self._sleepers: dict[asyncio.Future[None], float] = {}

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved by `seconds`."""
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[waking] = self.now + seconds
        try:
            await waking
        finally:
            self._sleepers.pop(waking, None)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for waking, until in list(self._sleepers.items()):
            if until <= self.now and not waking.done():
                waking.set_result(None)

    @property
    def sleepers(self) -> int:
        """How many are asleep."""
        return len(self._sleepers)

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=self, monotonic=self, sleep=self.sleep)
