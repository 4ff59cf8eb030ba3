"""The rate limiter of a single process, without Redis."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.rate_limit import LimitUse, RateLimit
from app.ports.rate_limiter import OverLimit
from app.services.limits.sliding_window import SlidingWindow, limit_use

MAX_WINDOWS = 10_000
"""Maximum number of windows, of at most 8 KB each. Above this number, the least recently used window is evicted."""

WindowKey = tuple[str, str, str]
"""The kind, level and holder of a limit."""


@dataclass(slots=True)
class _Entry:
    """A window.

    `expires_ms` is the time in ms at which the window is surely empty: two window lengths after the last call.
    """

    window: SlidingWindow
    expires_ms: int


class MemoryRateLimiter:
    """Sliding windows in this process.

    Before a window is added, expired windows are evicted: from the least recently used one up to the first that has not
    expired.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure time with `clock`, in seconds."""
        self._clock = clock
        self._entries: OrderedDict[WindowKey, _Entry] = OrderedDict()
        """The windows, the least recently used first."""

    async def count_call(self, _owner: str, limits: Sequence[RateLimit]) -> OverLimit | None:
        """Count one call in all windows, and return None; or count it in none, and return the limit that refuses it.

        Raises nothing.
        """
        now_ms = round(self._clock() * 1000)
        entries = [self._get_or_add_entry(limit, now_ms) for limit in limits]
        waits = [entry.window.wait_ms(limit.maximum, now_ms) for entry, limit in zip(entries, limits, strict=True)]
        if longest_wait_ms := max(waits, default=0):
            return OverLimit(limits[waits.index(longest_wait_ms)], longest_wait_ms / 1000)
        for entry, limit in zip(entries, limits, strict=True):
            entry.window.add(now_ms)
            entry.expires_ms = _expiry_ms(limit, now_ms)
        return None

    async def usage(self, _owner: str, limits: Sequence[RateLimit]) -> list[LimitUse]:
        """Return the use of each limit. Raises nothing."""
        now_ms = round(self._clock() * 1000)
        empty = SlidingWindow(1)
        entries = [self._entries.get((limit.kind, limit.level, limit.holder)) for limit in limits]
        windows = [empty if entry is None else entry.window for entry in entries]
        return [limit_use(limit, window, now_ms) for limit, window in zip(limits, windows, strict=True)]

    def _get_or_add_entry(self, limit: RateLimit, now_ms: int) -> _Entry:
        key = (limit.kind, limit.level, limit.holder)
        if (entry := self._entries.get(key)) is None:
            self._evict(now_ms)
            entry = self._entries[key] = _Entry(SlidingWindow(limit.window_seconds), _expiry_ms(limit, now_ms))
        else:
            self._entries.move_to_end(key)
        return entry

    def _evict(self, now_ms: int) -> None:
        while self._entries and (len(self._entries) >= MAX_WINDOWS or self._least_recently_used().expires_ms <= now_ms):
            self._entries.popitem(last=False)

    def _least_recently_used(self) -> _Entry:
        return next(iter(self._entries.values()))


def _expiry_ms(limit: RateLimit, now_ms: int) -> int:
    return now_ms + 2000 * limit.window_seconds
