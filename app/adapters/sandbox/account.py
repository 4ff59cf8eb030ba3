"""The sandbox's accounts: running generations, reads in this second and credits spent, for each token."""

import heapq
from dataclasses import dataclass, field

from app.adapters.sandbox.tasks import Owner, Record

PRICE_CREDITS = 1.19
"""The price of a generation that succeeded. Failures and reads are free. Source: AceDataCloud's price list."""


@dataclass(slots=True)
class Account:
    """The account of one bearer token. Times are unix seconds."""

    owner: Owner = field(default_factory=Owner)
    submissions: int = 0
    _finished: int = 0
    _running: list[tuple[float, bool]] = field(default_factory=list)
    _second: int = 0
    _reads_in_second: int = 0

    def runs(self, record: Record) -> None:
        """Take note of a generation that was accepted."""
        self._settle(record.created_at)
        heapq.heappush(self._running, (record.finished_at, record.fault is None))

    def in_flight(self, now: float) -> int:
        """Return how many generations are running."""
        self._settle(now)
        return len(self._running)

    def spent_credits(self, now: float) -> float:
        """Return what all generations that have succeeded by now cost."""
        self._settle(now)
        return round(self._finished * PRICE_CREDITS, 2)

    def admits_read(self, now: float, limit: int | None) -> bool:
        """Count one read; return whether this second of the clock has had no more than `limit` (None: no limit)."""
        second = int(now)
        if second != self._second:
            self._second, self._reads_in_second = second, 0
        self._reads_in_second += 1
        return limit is None or self._reads_in_second <= limit

    def _settle(self, now: float) -> None:
        while self._running and self._running[0][0] <= now:
            _, succeeded = heapq.heappop(self._running)
            self._finished += succeeded
