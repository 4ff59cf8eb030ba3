"""Limits on the calls to the backend, and to the store, that this process has in flight."""

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


DATABASE_READS = Shares(places=2, per_tenant=1, unaccepted=1)
"""Lists of tasks that are read at once: half of the connections to the database are kept for purchases."""


class BackendLimits:
    """Concurrency limiters for reads, purchases and store reads, and the token status that they share."""

    def __init__(self, clock: Callable[[], float], generations_at_once: int) -> None:
        """Count time by `clock`, in seconds that never go back; the backend takes so many generations of one token."""
        purchases = Shares(PURCHASE_PLACES, generations_at_once, UNACCEPTED_PURCHASES)
        self.token_status = TokenStatusCache(clock)
        self.reads = FairLimiter(READS, self.token_status.is_accepted)
        self.purchases = FairLimiter(purchases, self.token_status.is_accepted)
        self.store_reads = FairLimiter(STORE_READS, self.token_status.is_accepted)
        self.database_reads = FairLimiter(DATABASE_READS, self.token_status.is_accepted)

    @property
    def read_connections(self) -> int:
        """Return how many connections reads can need at once."""
        return READS.places + SPARE_CONNECTIONS

    @property
    def purchase_connections(self) -> int:
        """Return how many connections purchases can need at once."""
        return PURCHASE_PLACES + SPARE_CONNECTIONS
