"""Concurrency limits of this process: calls to the backend, reads of the store, and costly work on their results."""

from collections.abc import Callable

from app.services.limits.fair_limiter import FairLimiter, Shares
from app.services.limits.token_status import TokenStatusCache
from app.services.limits.work_turns import SMALL_BATCH, WorkTurns

READS = Shares(places=32, per_tenant=8, unaccepted=24)
"""Maximum number of concurrent reads of the backend.

A token may have eight, because a backend allows about ten a second.
"""

PURCHASE_PLACES = 16
UNACCEPTED_PURCHASES = 12
"""Maximum number of concurrent submissions. Their limiter is separate, so they never wait behind reads."""

SPARE_CONNECTIONS = 4
"""Connections in each pool beyond the concurrency limit. A connection counts until it is closed, and a call fails if
the pool is full.
"""

SMALL_STORE_READS = Shares(places=16, per_tenant=12, unaccepted=8)
LARGE_STORE_READS = Shares(places=8, per_tenant=4, unaccepted=4)
"""Maximum numbers of concurrent reads of the store, of SMALL_BATCH tasks or fewer and of more.

The values of 50 tasks take 650 KB at most until they are unpacked, and those of 200 take 2.6 MB.
"""


class StoreReads:
    """The limiters of concurrent reads of the store: one for small reads, and one for large reads."""

    def __init__(self, is_accepted: Callable[[str], bool]) -> None:
        """`is_accepted` returns whether the backend has accepted a tenant's token lately; see FairLimiter."""
        self._small = FairLimiter(SMALL_STORE_READS, is_accepted)
        self._large = FairLimiter(LARGE_STORE_READS, is_accepted)

    def limiter(self, size: int) -> FairLimiter:
        """Return the limiter for a read of `size` tasks."""
        return self._small if size <= SMALL_BATCH else self._large


class BackendLimits:
    """The concurrency limiters of this process, and the token status that they share."""

    def __init__(self, clock: Callable[[], float], generations_at_once: int) -> None:
        """`clock` is monotonic, in seconds. `generations_at_once` is the backend's limit of generations per token."""
        purchases = Shares(PURCHASE_PLACES, generations_at_once, UNACCEPTED_PURCHASES)
        self.token_status = TokenStatusCache(clock)
        self.reads = FairLimiter(READS, self.token_status.is_accepted)
        self.purchases = FairLimiter(purchases, self.token_status.is_accepted)
        self.store_reads = StoreReads(self.token_status.is_accepted)
        self.work_turns = WorkTurns(self.token_status.is_accepted)

    @property
    def read_connections(self) -> int:
        """Size of the connection pool for reads."""
        return READS.places + SPARE_CONNECTIONS

    @property
    def submission_connections(self) -> int:
        """Size of the connection pool for submissions."""
        return PURCHASE_PLACES + SPARE_CONNECTIONS
