"""The calls to the backend that this process may have in flight."""

from collections.abc import Callable

from app.services.limits.fair_limiter import FairLimiter, Shares
from app.services.limits.token_status import TokenStatusCache

READS = Shares(places=32, per_tenant=8, unaccepted=24)
"""Eight calls per token: a backend allows some ten a second."""

PURCHASE_PLACES = 16
UNACCEPTED_PURCHASES = 12
"""Purchases have places of their own, and so never wait behind reads. One token has as many as the backend takes."""

SPARE_CONNECTIONS = 4
"""Beyond the places, for connections that are still being closed: a pool that is full would fail calls."""

STORE_READS = Shares(places=12, per_tenant=4, unaccepted=6)
"""Questions to the store at once: the answer to one about 200 tasks takes some MB until it is rendered."""


class BackendLimits:
    """The places for reads and for purchases, and what is known of the tokens that want them."""

    def __init__(self, clock: Callable[[], float], generations_at_once: int) -> None:
        """Count time by `clock`, in seconds that never go back; the backend takes so many generations of one token."""
        purchases = Shares(PURCHASE_PLACES, generations_at_once, UNACCEPTED_PURCHASES)
        self.token_status = TokenStatusCache(clock)
        self.reads = FairLimiter(READS, self.token_status.is_accepted)
        self.purchases = FairLimiter(purchases, self.token_status.is_accepted)
        self.store_reads = FairLimiter(STORE_READS, self.token_status.is_accepted)

    @property
    def read_connections(self) -> int:
        """Return how many connections reads can need at once."""
        return READS.places + SPARE_CONNECTIONS

    @property
    def purchase_connections(self) -> int:
        """Return how many connections purchases can need at once."""
        return PURCHASE_PLACES + SPARE_CONNECTIONS
