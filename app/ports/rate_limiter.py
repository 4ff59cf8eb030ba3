"""The interface of the rate limiter, which counts calls and generations in sliding windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.rate_limit import LimitUse, RateLimit


@dataclass(frozen=True, slots=True)
class OverLimit:
    """The limit that refuses a call; if several do, the one with the longest wait.

    Attributes:
        wait_seconds: time until all limits have room again, if nothing else is counted meanwhile.

    """

    limit: RateLimit
    wait_seconds: float


class RateLimiter(Protocol):
    """The windows of all callers. Replicas share them through Redis if there is one."""

    async def count_call(self, owner: str, limits: Sequence[RateLimit]) -> OverLimit | None:
        """Count one call in the windows of all `limits` and return None.

        If a window has no room, count the call in none of them, and return the limit that refuses it.
        All limits belong to the team `owner`. Raises StoreUnavailable; the call may or may not have been counted then.
        """
        ...

    async def usage(self, owner: str, limits: Sequence[RateLimit]) -> list[LimitUse]:
        """Return the use of each of `limits`, which belong to the team `owner`. Count nothing.

        Raises StoreUnavailable.
        """
        ...
