"""A clock that tests set, so that no test waits."""

from app.bootstrap import Clocks


class HandClock:
    """Unix seconds and monotonic seconds that move together, by hand."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=self, monotonic=self)
