"""Caches the status of each token: accepted, refused or unknown.

Other services send no calls with a token that was just refused, and withhold cached results from a refused token until
the backend accepts it again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

REFUSED_SECONDS = 1.5
"""Time after a refusal during which no call is sent for the token. A single 401 may be an error of the backend."""

VERIFY_SECONDS = 300.0
"""Minimum between two verifications of a refused token. A verification is a call to the backend that only finds out
whether the token may get cached results.

The minimum is waived once when the backend accepts any token that it had refused. Its refusals were then wrong, so each
refused token is verified once more.
"""

MAX_TOKENS = 10_000
"""Size of each LRU cache of subjects, about 200 bytes an entry."""


@dataclass(slots=True)
class _Refusal:
    """The refusal of one subject's token. All times are monotonic.

    Attributes:
        refused_at: time of the latest refusal.
        next_verification_at: time from which the token may be verified.
        last_verification_at: time of the latest refusal, or of a verification since.

    """

    refused_at: float
    next_verification_at: float
    last_verification_at: float


class TokenStatusCache:
    """The last known status of each subject's token, in this process only.

    A subject is the id of a caller or a credential, or the keyed hash of a token.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._accepted: LRUCache[str, None] = LRUCache(MAX_TOKENS)
        self._refused: LRUCache[str, _Refusal] = LRUCache(MAX_TOKENS)
        self._refused_with_results: LRUCache[str, _Refusal] = LRUCache(MAX_TOKENS)
        """Refusals of tokens with cached results. Made-up tokens have none, so they cannot evict these entries."""
        self._accepted_again_at = -math.inf
        """Time of the last acceptance of a token that had been refused."""

    def is_accepted(self, subject: str) -> bool:
        """Return whether the token was accepted and the backend has not refused it since."""
        return subject in self._accepted

    def was_refused(self, subject: str) -> bool:
        """Return whether the backend has refused the token and not accepted it since.

        Cached results are withheld while this is True.
        """
        return subject in self._refused_with_results or subject in self._refused

    def just_refused(self, subject: str) -> bool:
        """Return whether the refusal is so recent that no call is sent to the backend."""
        refusal = self._refusal(subject)
        return refusal is not None and self._clock() < refusal.refused_at + REFUSED_SECONDS

    def try_start_verification(self, subject: str) -> bool:
        """Return whether to verify the token now. If so, the verification is reserved for the call that asked.

        For a refused token, the next verification is then possible after VERIFY_SECONDS, or as soon as the backend
        accepts any token that it had refused. For other tokens, nothing is reserved and True is returned.
        """
        refusal, now = self._refusal(subject), self._clock()
        if refusal is None:
            return True
        if now < refusal.next_verification_at and self._accepted_again_at <= refusal.last_verification_at:
            return False
        refusal.next_verification_at = now + VERIFY_SECONDS
        refusal.last_verification_at = now
        return True

    def retry_verification_soon(self, subject: str) -> None:
        """Allow the next verification after REFUSED_SECONDS, because the last one did not show the token's status."""
        if (refusal := self._refusal(subject)) is not None:
            refusal.next_verification_at = self._clock() + REFUSED_SECONDS

    def accept(self, subject: str) -> None:
        """Record that the backend, or an authenticator of this service, has just accepted the token."""
        self._accepted[subject] = None
        if self.was_refused(subject):
            self._refused.pop(subject, None)
            self._refused_with_results.pop(subject, None)
            self._accepted_again_at = self._clock()

    def refuse(self, subject: str) -> None:
        """Record that the backend has just refused the token itself."""
        now = self._clock()
        before = self._refusal(subject)
        earliest = now + REFUSED_SECONDS
        next_verification_at = earliest if before is None else max(before.next_verification_at, earliest)
        has_results = subject in self._accepted or subject in self._refused_with_results
        self._accepted.pop(subject, None)
        refusals = self._refused_with_results if has_results else self._refused
        refusals[subject] = _Refusal(now, next_verification_at, now)

    def record_cached_results(self, subject: str) -> None:
        """Record that a refused token has cached results. Refusals of made-up tokens then cannot evict its entry."""
        if (refusal := self._refused.get(subject)) is not None:
            self._refused.pop(subject, None)
            self._refused_with_results[subject] = refusal

    def _refusal(self, subject: str) -> _Refusal | None:
        return self._refused_with_results.get(subject) or self._refused.get(subject)
