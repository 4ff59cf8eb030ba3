"""Limits the database rows of tokens that the backend has not accepted.

Any string is a token, and each call can have another idempotency key. A purchase of such a token that bought nothing is
deleted at once. A purchase with an unknown outcome must be kept, so the number of these is limited.
"""

from collections import Counter, deque
from collections.abc import Callable

WINDOW_SECONDS = 600.0
MAX_OF_ALL = 500
MAX_PER_TOKEN = 10
"""Limits of purchases with an unknown outcome within WINDOW_SECONDS: of all such tokens together, and of one."""


class UnacceptedPurchases:
    """Counts, in this process, the purchases of unaccepted tokens that ended with an unknown outcome."""

    def __init__(self, clock: Callable[[], float], is_accepted: Callable[[str], bool]) -> None:
        """`clock` is monotonic, in seconds. `is_accepted` returns whether the backend has accepted a token lately."""
        self._clock = clock
        self.is_accepted = is_accepted
        self._unknown: deque[tuple[float, str]] = deque()
        self._unknown_of: Counter[str] = Counter()

    def must_delete_unbought(self, tenant: str) -> bool:
        """Return whether rows of the tenant's purchases that bought nothing are to be deleted."""
        return not self.is_accepted(tenant)

    def may_record(self, tenant: str) -> bool:
        """Return whether the limits allow a call of the tenant to record a purchase."""
        if self.is_accepted(tenant):
            return True
        while self._unknown and self._unknown[0][0] <= self._clock() - WINDOW_SECONDS:
            _, expired = self._unknown.popleft()
            self._unknown_of[expired] -= 1
            if not self._unknown_of[expired]:
                del self._unknown_of[expired]
        return len(self._unknown) < MAX_OF_ALL and self._unknown_of.get(tenant, 0) < MAX_PER_TOKEN

    def record_unknown(self, tenant: str) -> None:
        """Count a purchase of the tenant with an unknown outcome."""
        if not self.is_accepted(tenant):
            self._unknown.append((self._clock(), tenant))
            self._unknown_of[tenant] += 1
