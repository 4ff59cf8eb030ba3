"""Limits the database rows of tokens that the backend has not accepted.

Any string is a token, and each call can have another idempotency key. Of such tokens, a purchase that bought nothing is
deleted at once. One with an unknown outcome must be kept, so their number is limited.
"""

from collections import Counter, deque
from collections.abc import Callable

WINDOW_SECONDS = 600.0
MOST_OF_ALL = 500
MOST_PER_TOKEN = 10
"""Limits of purchases with an unknown outcome within WINDOW_SECONDS: of all such tokens together, and of one."""


class UnacceptedPurchases:
    """Counts purchases with an unknown outcome in this process."""

    def __init__(self, clock: Callable[[], float], is_accepted: Callable[[str], bool]) -> None:
        """`clock` is monotonic, in seconds. `is_accepted` tells whether the backend has accepted a token lately."""
        self._clock = clock
        self.is_accepted = is_accepted
        self._left: deque[tuple[float, str]] = deque()
        self._of_tenant: Counter[str] = Counter()

    def leaves_none(self, tenant: str) -> bool:
        """Return whether the row of a call that bought nothing is deleted."""
        return not self.is_accepted(tenant)

    def admit(self, tenant: str) -> bool:
        """Return whether a call of the tenant may record a purchase."""
        if self.is_accepted(tenant):
            return True
        while self._left and self._left[0][0] <= self._clock() - WINDOW_SECONDS:
            _, gone = self._left.popleft()
            self._of_tenant[gone] -= 1
            if not self._of_tenant[gone]:
                del self._of_tenant[gone]
        return len(self._left) < MOST_OF_ALL and self._of_tenant.get(tenant, 0) < MOST_PER_TOKEN

    def stays(self, tenant: str) -> None:
        """Record that a call of the tenant left a purchase with an unknown outcome."""
        if not self.is_accepted(tenant):
            self._left.append((self._clock(), tenant))
            self._of_tenant[tenant] += 1
