"""The rate limiter of a single process, without Redis."""

from collections.abc import Callable, Sequence

from cachetools import TLRUCache

from app.domain.rate_limit import RateLimit
from app.ports.rate_limiter import OverLimit
from app.services.limits.sliding_window import SlidingWindow

MOST_WINDOWS = 10_000
"""About 8 KB each at most. Beyond, the window that was used least lately is forgotten."""

Name = tuple[str, str, str]


class MemoryRateLimiter:
    """Sliding windows in this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with `clock`, in seconds."""
        self._clock = clock
        self._windows: TLRUCache[Name, tuple[SlidingWindow, int]] = TLRUCache(
            MOST_WINDOWS, ttu=lambda _name, entry, now: now + 2 * entry[1], timer=clock
        )  # with the length of each

    async def take(self, _owner: str, limits: Sequence[RateLimit]) -> OverLimit | None:
        """Count one call in all windows, or in none and return the limit that refuses. Raises nothing."""
        now_ms = int(self._clock() * 1000)
        windows = [self._window(limit) for limit in limits]
        waits = [window.wait_ms(limit.most, now_ms) for window, limit in zip(windows, limits, strict=True)]
        if longest := max(waits, default=0):
            return OverLimit(limits[waits.index(longest)], longest / 1000)
        for window, limit in zip(windows, limits, strict=True):
            window.add(now_ms)
            self._windows[_name(limit)] = window, limit.window_seconds
        return None

    def _window(self, limit: RateLimit) -> SlidingWindow:
        known = self._windows.get(_name(limit))
        return known[0] if known is not None else SlidingWindow(limit.window_seconds)


def _name(limit: RateLimit) -> Name:
    return limit.kind, limit.level, limit.holder
