"""A sliding window in 60 buckets.

No window of any position holds more than the limit, and the memory does not depend on the limit. A call counts until
its whole bucket is older than the window, so it counts for up to a sixtieth of the window longer than needed. The other
ways were worse: GCRA with a burst of the whole limit lets nearly twice the limit into one window, and without a burst
it refuses the second of two calls at once; a log of the times of calls takes memory in proportion to the limit.

`TAKE` in `app/adapters/redis/scripts.py` is the same in Lua.
"""

BUCKETS = 60


class SlidingWindow:
    """The calls of one window. Times are in whole milliseconds by one clock, which may go back a little."""

    def __init__(self, window_seconds: int) -> None:
        """Start empty."""
        self._width = window_seconds * 1000 // BUCKETS
        self._counts: dict[int, int] = {}  # by number of the bucket, ascending
        self._total = 0

    def wait_ms(self, most: int, now_ms: int) -> int:
        """Return how long it takes until the window has room for a call, of `most`; 0 if it has."""
        self._drop_old(now_ms)
        left, wait = self._total, 0
        for bucket, count in self._counts.items():
            if left < most:
                break
            left -= count
            wait = (bucket + BUCKETS + 1) * self._width - now_ms
        return wait

    def add(self, now_ms: int) -> None:
        """Count a call."""
        bucket = max(now_ms // self._width, next(reversed(self._counts), 0))
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1

    def _drop_old(self, now_ms: int) -> None:
        """Drop the buckets that are older than the window.

        If the newest bucket is a window ahead, a clock was wrong, and nothing of it counts.
        """
        newest, bucket = next(reversed(self._counts), 0), now_ms // self._width
        if newest > bucket + BUCKETS:
            self._counts.clear()
            self._total, newest = 0, 0
        oldest = max(newest, bucket) - BUCKETS
        while self._counts and (first := next(iter(self._counts))) < oldest:
            self._total -= self._counts.pop(first)
