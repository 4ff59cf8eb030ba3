"""The rate limiter of a single process, without Redis."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.rate_limit import RateLimit
from app.ports.rate_limiter import OverLimit
from app.services.limits.sliding_window import SlidingWindow

MOST_WINDOWS = 10_000
"""About 8 KB each at most. Beyond, the window that was used least lately is forgotten."""

Name = tuple[str, str, str]


@dataclass(slots=True)
class _Entry:
    """A window, and the time in ms from which nothing in it counts any more."""

    window: SlidingWindow
    ends_ms: int


class MemoryRateLimiter:
    """Sliding windows in this process. Windows that have ended are dropped when a new one is made."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with `clock`, in seconds."""
        self._clock = clock
        self._entries: OrderedDict[Name, _Entry] = OrderedDict()
        """The windows, the least lately used first."""

    async def take(self, _owner: str, limits: Sequence[RateLimit]) -> OverLimit | None:
        """Count one call in all windows, or in none and return the limit that refuses. Raises nothing."""
        now_ms = round(self._clock() * 1000)
        entries = [self._entry(limit, now_ms) for limit in limits]
        waits = [entry.window.wait_ms(limit.most, now_ms) for entry, limit in zip(entries, limits, strict=True)]
        if longest := max(waits, default=0):
            return OverLimit(limits[waits.index(longest)], longest / 1000)
        for entry, limit in zip(entries, limits, strict=True):
            entry.window.add(now_ms)
            entry.ends_ms = _end(limit, now_ms)
        return None

    def _entry(self, limit: RateLimit, now_ms: int) -> _Entry:
        name = (limit.kind, limit.level, limit.holder)
        if (entry := self._entries.get(name)) is None:
            self._make_room(now_ms)
            entry = self._entries[name] = _Entry(SlidingWindow(limit.window_seconds), _end(limit, now_ms))
        else:
            self._entries.move_to_end(name)
        return entry

    def _make_room(self, now_ms: int) -> None:
        while self._entries and (len(self._entries) >= MOST_WINDOWS or self._oldest().ends_ms <= now_ms):
            self._entries.popitem(last=False)

    def _oldest(self) -> _Entry:
        return next(iter(self._entries.values()))


def _end(limit: RateLimit, now_ms: int) -> int:
    return now_ms + 2000 * limit.window_seconds
