"""A rate limit of requests per caller (token bucket), in this process."""

from collections.abc import Callable

from cachetools import LRUCache

MAX_CALLERS = 10_000
"""Maximum number of callers in the cache, about 0.2 KB each. An evicted caller may send a burst again."""


class RequestRate:
    """A token bucket for each caller."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        """Allow each caller `burst` requests at once and `per_second` on average. `clock` is monotonic, in seconds."""
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(MAX_CALLERS)

    def take(self, caller: str) -> float:
        """Take one token and return 0. If the bucket is empty, return the seconds until it has one."""
        now = self._clock()
        tokens, since = self._buckets.get(caller, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        if tokens < 1:
            return (1 - tokens) / self._per_second
        self._buckets[caller] = (tokens - 1, now)
        return 0.0
