"""Rate limits that report to nobody."""

from app.adapters.memory.rate_limiter import MemoryRateLimiter
from app.services.limits.rate_limits import RateLimits
from tests.support.clock import HandClock


def rate_limits(clock: HandClock) -> RateLimits:
    """Return the rate limits of a process without Redis."""
    return RateLimits(MemoryRateLimiter(clock), clock, on_refusal=_note, on_flood=_note, on_failure=_note)


def _note(*_about: object) -> None:
    """Report nothing."""
