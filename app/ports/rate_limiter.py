"""Counts calls and generations in sliding windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.rate_limit import RateLimit


@dataclass(frozen=True, slots=True)
class OverLimit:
    """The limit that refuses a call; of several, the one with the longest wait.

    Attributes:
        wait_seconds: time after which all limits have room again, if nothing else is counted meanwhile.

    """

    limit: RateLimit
    wait_seconds: float


class RateLimiter(Protocol):
    """The windows of all callers, shared by the replicas where there is Redis."""

    async def take(self, owner: str, limits: Sequence[RateLimit]) -> OverLimit | None:
        """Count one call in the windows of all `limits`, and return None; or in none of them, if one has no room.

        All limits belong to the team `owner`. Raises StoreUnavailable, and the call may or may not have been counted.
        """
        ...
