"""Caches whether the backend accepted or refused each token. A refused token costs no calls and gets no results."""

from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

REFUSED_SECONDS = 1.5
"""How long a refused token is answered without asking the backend. Short, because a single 401 may be a slip."""

ASK_AGAIN_SECONDS = 300.0
"""How often, at most, a refused token is tried for the sake of results that are cached."""

MOST_TOKENS = 10_000
"""Tenants remembered on either side, about 200 bytes each; the ones not met for longest make room."""


@dataclass(slots=True)
class _Refusal:
    at: float
    ask_again_at: float


class TokenStatusCache:
    """The tokens, by tenant, that the backend accepted or refused. Kept in this process only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Count time by `clock`, in seconds that never go back."""
        self._clock = clock
        self._accepted: LRUCache[str, None] = LRUCache(MOST_TOKENS)
        self._refused: LRUCache[str, _Refusal] = LRUCache(MOST_TOKENS)
        self._withheld: LRUCache[str, _Refusal] = LRUCache(MOST_TOKENS)  # refused ones that have results kept here

    def is_accepted(self, tenant: str) -> bool:
        """Whether the backend has accepted the token, and has not refused it since."""
        return tenant in self._accepted

    def was_refused(self, tenant: str) -> bool:
        """Whether the backend has refused the token, and has not accepted it since: cached results are not given."""
        return tenant in self._withheld or tenant in self._refused  # both empty as a rule: cached calls pass here

    def just_refused(self, tenant: str) -> bool:
        """Whether the refusal is so fresh that the backend is not asked again."""
        refusal = self._refusal(tenant)
        return refusal is not None and self._clock() < refusal.at + REFUSED_SECONDS

    def may_verify(self, tenant: str) -> bool:
        """Whether a refused token may be tried now to give cached results; True is said once in five minutes."""
        refusal, now = self._refusal(tenant), self._clock()
        if refusal is None:
            return True
        if now < refusal.ask_again_at:
            return False
        refusal.ask_again_at = now + ASK_AGAIN_SECONDS
        return True

    def verify_again(self, tenant: str) -> None:
        """Let the next question verify a refused token, because this one had no answer that says anything of it."""
        if (refusal := self._refusal(tenant)) is not None:
            refusal.ask_again_at = self._clock() + REFUSED_SECONDS

    def accept(self, tenant: str) -> None:
        """Note that the backend has just accepted the token."""
        self._accepted[tenant] = None
        if self._refused or self._withheld:
            self._refused.pop(tenant, None)
            self._withheld.pop(tenant, None)

    def refuse(self, tenant: str) -> None:
        """Note that the backend has just refused the token itself."""
        now = self._clock()
        before = self._refusal(tenant)
        ask_again_at = now + REFUSED_SECONDS if before is None else max(before.ask_again_at, now + REFUSED_SECONDS)
        has_results = tenant in self._accepted or tenant in self._withheld
        self._accepted.pop(tenant, None)
        (self._withheld if has_results else self._refused)[tenant] = _Refusal(now, ask_again_at)

    def withhold(self, tenant: str) -> None:
        """Note that results of a refused token are kept here: strangers must not push its refusal out of memory."""
        if (refusal := self._refused.get(tenant)) is not None:
            self._refused.pop(tenant, None)
            self._withheld[tenant] = refusal

    def _refusal(self, tenant: str) -> _Refusal | None:
        return self._withheld.get(tenant) or self._refused.get(tenant)
