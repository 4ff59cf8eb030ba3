"""Limits the rows that tokens not accepted by the backend may leave in the database.

Any string is a token, and each call can name another key. A purchase under which nothing was bought is deleted at once;
one whose outcome is unknown must stay for its day, so those are counted.
"""

from collections import Counter, deque
from collections.abc import Callable

WINDOW_SECONDS = 600.0
MOST_OF_ALL = 500
MOST_PER_TOKEN = 10
"""Purchases of unknown outcome in this time, of all such tokens together and of one."""


class UnacceptedPurchases:
    """Counts purchases of unknown outcome in this process."""

    def __init__(self, clock: Callable[[], float], is_accepted: Callable[[str], bool]) -> None:
        """Count seconds by `clock`, which never goes back; `is_accepted` tells whether the backend accepts a token."""
        self._clock = clock
        self._is_accepted = is_accepted
        self._left: deque[tuple[float, str]] = deque()
        self._of_tenant: Counter[str] = Counter()

    def leaves_none(self, tenant: str) -> bool:
        """Whether a call that bought nothing is to leave no row."""
        return not self._is_accepted(tenant)

    def admit(self, tenant: str) -> bool:
        """Return whether a call may record a purchase, which could stay."""
        if self._is_accepted(tenant):
            return True
        while self._left and self._left[0][0] <= self._clock() - WINDOW_SECONDS:
            _, gone = self._left.popleft()
            self._of_tenant[gone] -= 1
            if not self._of_tenant[gone]:
                del self._of_tenant[gone]
        return len(self._left) < MOST_OF_ALL and self._of_tenant.get(tenant, 0) < MOST_PER_TOKEN

    def stays(self, tenant: str) -> None:
        """Note that a call of the tenant's left a purchase of unknown outcome."""
        if not self._is_accepted(tenant):
            self._left.append((self._clock(), tenant))
            self._of_tenant[tenant] += 1
