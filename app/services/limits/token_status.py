"""Caches whether the backend accepted or refused each token. Refused tokens cause few calls, and get no results."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

REFUSED_SECONDS = 1.5
"""Time after a refusal during which no call is sent for the token. A single 401 may be an error of the backend."""

VERIFY_SECONDS = 300.0
"""Minimum between two calls that only verify whether a refused token may get cached results again.

It does not count once the backend has accepted another token that it had refused: then it had refused valid tokens, and
each refused token is verified once more.
"""

MAX_TOKENS = 10_000
"""Size of each LRU cache of tenants, about 200 bytes an entry."""


@dataclass(slots=True)
class _Refusal:
    at: float
    verify_at: float
    verified_at: float
    """Time of the last verification, or of the refusal."""


class TokenStatusCache:
    """The last known status of each tenant's token, in this process only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._accepted: LRUCache[str, None] = LRUCache(MAX_TOKENS)
        self._refused: LRUCache[str, _Refusal] = LRUCache(MAX_TOKENS)
        self._withheld: LRUCache[str, _Refusal] = LRUCache(MAX_TOKENS)
        """Refused tokens with cached results. Made-up tokens have none, so they cannot evict these."""
        self._withdrawn_at = -math.inf
        """The last time at which the backend accepted a token that it had refused."""

    def is_accepted(self, tenant: str) -> bool:
        """Return whether the backend has accepted the token and not refused it since."""
        return tenant in self._accepted

    def was_refused(self, tenant: str) -> bool:
        """Return whether the backend has refused the token and not accepted it since. Cached results are withheld."""
        return tenant in self._withheld or tenant in self._refused

    def just_refused(self, tenant: str) -> bool:
        """Return whether the refusal is so recent that no call is sent to the backend."""
        refusal = self._refusal(tenant)
        return refusal is not None and self._clock() < refusal.at + REFUSED_SECONDS

    def try_start_verification(self, tenant: str) -> bool:
        """Return whether to verify the token now, for the sake of cached results.

        For a refused token, True is returned at most once in VERIFY_SECONDS, and once after each token that the backend
        accepted again.
        """
        refusal, now = self._refusal(tenant), self._clock()
        if refusal is None:
            return True
        if now < refusal.verify_at and self._withdrawn_at <= refusal.verified_at:
            return False
        refusal.verify_at = now + VERIFY_SECONDS
        refusal.verified_at = now
        return True

    def retry_verification_soon(self, tenant: str) -> None:
        """Allow the next verification after REFUSED_SECONDS, because the last one failed for another reason."""
        if (refusal := self._refusal(tenant)) is not None:
            refusal.verify_at = self._clock() + REFUSED_SECONDS

    def accept(self, tenant: str) -> None:
        """Record that the backend has just accepted the token."""
        self._accepted[tenant] = None
        if self.was_refused(tenant):
            self._refused.pop(tenant, None)
            self._withheld.pop(tenant, None)
            self._withdrawn_at = self._clock()

    def refuse(self, tenant: str) -> None:
        """Record that the backend has just refused the token itself."""
        now = self._clock()
        before = self._refusal(tenant)
        verify_at = now + REFUSED_SECONDS if before is None else max(before.verify_at, now + REFUSED_SECONDS)
        has_results = tenant in self._accepted or tenant in self._withheld
        self._accepted.pop(tenant, None)
        (self._withheld if has_results else self._refused)[tenant] = _Refusal(now, verify_at, now)

    def withhold(self, tenant: str) -> None:
        """Record that a refused token has cached results. Refusals of made-up tokens then cannot evict its refusal."""
        if (refusal := self._refused.get(tenant)) is not None:
            self._refused.pop(tenant, None)
            self._withheld[tenant] = refusal

    def _refusal(self, tenant: str) -> _Refusal | None:
        return self._withheld.get(tenant) or self._refused.get(tenant)
