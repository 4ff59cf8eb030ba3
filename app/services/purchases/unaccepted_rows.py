"""Limits the database rows of purchases that bought nothing.

Any string is a token, and each call can have another idempotency key. A purchase of a token that the backend has not
accepted is deleted at once if it bought nothing. A purchase with an unknown outcome must be kept, so the number of
these is limited. An accepted token can have its purchases refused for nothing as well, for example without credit: 80
a second would add 6 GB of rows a day.
"""

from collections import Counter, deque
from collections.abc import Callable

from cachetools import TTLCache

WINDOW_SECONDS = 600.0
MAX_OF_ALL = 500
MAX_PER_TOKEN = 10
"""Limits of purchases with an unknown outcome within WINDOW_SECONDS: of all such tokens together, and of one."""

MAX_REFUSED_PER_TOKEN = 100
"""Number of refused purchases of an accepted token that are kept, until it has had none for WINDOW_SECONDS."""

MAX_TOKENS = 10_000
"""Maximum number of accepted tokens whose refused purchases are counted. The one that was counted first is dropped."""


class UnacceptedPurchases:
    """Counts, in this process, purchases of unaccepted tokens with an unknown outcome, and refused ones of others."""

    def __init__(self, clock: Callable[[], float], is_accepted: Callable[[str], bool]) -> None:
        """`clock` is monotonic, in seconds. `is_accepted` returns whether the backend has accepted a token lately."""
        self._clock = clock
        self.is_accepted = is_accepted
        self._unknown: deque[tuple[float, str]] = deque()
        self._unknown_of: Counter[str] = Counter()
        self._refused_of: TTLCache[str, int] = TTLCache(MAX_TOKENS, WINDOW_SECONDS, timer=clock)

    def must_delete_unbought(self, tenant: str) -> bool:
        """Return whether rows of the tenant's purchases that bought nothing are to be deleted."""
        return not self.is_accepted(tenant)

    def must_delete_refused(self, tenant: str) -> bool:
        """Count a purchase of the tenant that the backend has refused, and return whether its row is to be deleted."""
        if not self.is_accepted(tenant):
            return True
        count = self._refused_of[tenant] = self._refused_of.get(tenant, 0) + 1
        return count > MAX_REFUSED_PER_TOKEN

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
