"""The sandbox's account of one token: running generations, reads in the current second, and spent credits."""

import heapq
from dataclasses import dataclass, field

from app.adapters.sandbox.tasks import AccountIds, Record

PRICE_CREDITS = 1.19
"""Price of a successful generation. Failures and reads are free. Source: AceDataCloud's price list."""


@dataclass(slots=True)
class Account:
    """The account of one bearer token. Times are unix seconds."""

    ids: AccountIds = field(default_factory=AccountIds)
    submissions: int = 0
    """Number of requests to /luma/videos, including refused ones. The sandbox counts them."""
    _succeeded: int = 0
    _running: list[tuple[float, bool]] = field(default_factory=list)
    """Heap of running generations: the time at which each ends, and whether it will succeed."""
    _second: int = 0
    """The clock second (Unix time) of the last read."""
    _reads_in_second: int = 0

    def add_generation(self, record: Record) -> None:
        """Record an accepted generation."""
        self._remove_ended(record.created_at)
        heapq.heappush(self._running, (record.finished_at, record.fault is None))

    def in_flight(self, now: float) -> int:
        """Return the number of running generations."""
        self._remove_ended(now)
        return len(self._running)

    def spent_credits(self, now: float) -> float:
        """Return the cost of all generations that have succeeded by `now`."""
        self._remove_ended(now)
        return round(self._succeeded * PRICE_CREDITS, 2)

    def admit_read(self, now: float, limit: int | None) -> bool:
        """Count a read, and return whether the current clock second has at most `limit` reads (None: no limit)."""
        second = int(now)
        if second != self._second:
            self._second, self._reads_in_second = second, 0
        self._reads_in_second += 1
        return limit is None or self._reads_in_second <= limit

    def _remove_ended(self, now: float) -> None:
        while self._running and self._running[0][0] <= now:
            _, succeeded = heapq.heappop(self._running)
            self._succeeded += succeeded
