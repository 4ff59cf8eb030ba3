"""A sliding-window counter with 60 buckets.

No interval of the window's length has more calls than the limit, and the memory does not depend on the limit. A call
counts until its whole bucket is older than the window, up to a sixtieth of the window longer than needed. The
alternatives are worse: GCRA with a burst of the whole limit admits nearly twice the limit in one window, and without a
burst it refuses the second of two simultaneous calls; a log of timestamps takes memory in proportion to the limit.

`COUNT_CALL` in `app/adapters/redis/scripts.py` is the same in Lua.
"""

from collections.abc import Iterable

from app.domain.rate_limit import LimitUse, RateLimit

BUCKETS = 60


class SlidingWindow:
    """The counter of one limit. Times are whole milliseconds of one clock, which may go back a little."""

    def __init__(self, window_seconds: int) -> None:
        """Start empty. `window_seconds` is the length of the window."""
        self._bucket_ms = window_seconds * 1000 // BUCKETS
        self._counts: dict[int, int] = {}  # by number of the bucket, ascending
        self._total = 0

    def restore(self, counts: Iterable[tuple[int, int]]) -> None:
        """Set the counts by number of the bucket, ascending."""
        self._counts = dict(counts)
        self._total = sum(self._counts.values())

    def usage(self, now_ms: int) -> tuple[int, int]:
        """Return the number of counted calls, and the milliseconds until the oldest no longer counts; 0 without calls.

        No bucket is dropped, so the result stays right if the clock goes back afterwards.
        """
        bucket = now_ms // self._bucket_ms
        possible = [number for number in self._counts if number <= bucket + BUCKETS]
        oldest = max(possible[-1] if possible else 0, bucket) - BUCKETS
        counted = [number for number in possible if number >= oldest]
        if not counted:
            return 0, 0
        return sum(self._counts[number] for number in counted), (counted[0] + BUCKETS + 1) * self._bucket_ms - now_ms

    def wait_ms(self, limit: int, now_ms: int) -> int:
        """Return the milliseconds until the window has fewer than `limit` calls; 0 if it has now."""
        self._drop_old(now_ms)
        remaining, wait = self._total, 0
        for bucket, count in self._counts.items():
            if remaining < limit:
                break
            remaining -= count
            wait = (bucket + BUCKETS + 1) * self._bucket_ms - now_ms
        return wait

    def add(self, now_ms: int) -> None:
        """Count a call."""
        bucket = max(now_ms // self._bucket_ms, next(reversed(self._counts), 0))
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1

    def _drop_old(self, now_ms: int) -> None:
        """Drop the buckets that are older than the window, and those more than a window ahead: the clock was wrong."""
        bucket = now_ms // self._bucket_ms
        while self._counts and (last := next(reversed(self._counts))) > bucket + BUCKETS:
            self._total -= self._counts.pop(last)
        oldest = max(next(reversed(self._counts), 0), bucket) - BUCKETS
        while self._counts and (first := next(iter(self._counts))) < oldest:
            self._total -= self._counts.pop(first)


def limit_use(limit: RateLimit, window: SlidingWindow, now_ms: int) -> LimitUse:
    """Return the use of a limit. `window` has the counts of its calls."""
    used, renews_in_ms = window.usage(now_ms)
    return LimitUse(limit.kind, limit.level, limit.maximum, used, renews_in_ms / 1000 if used else None)
