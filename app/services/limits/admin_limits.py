"""Limits of administration over HTTP, in this process.

Administrative changes lock the directory, and reads may be long.
"""

from collections.abc import Callable

from app.services.limits.fair_limiter import FairLimiter, Shares
from app.services.limits.request_rate import RequestRate

READS_PER_SECOND, MAX_READS = 5.0, 60
CHANGES_PER_SECOND, MAX_CHANGES = 1.0, 60
"""Rate and burst of one team. After each change, every replica reads the keys in its cache again."""

PLACES = Shares(places=2, per_tenant=1, unaccepted=2)
"""Maximum number of concurrent requests.

They use half of the four database connections; the other half is for tool calls.
"""


class AdminLimits:
    """The limits of administration by team id.

    Attributes:
        reads: rate of reads.
        changes: rate of changes.
        places: limiter of concurrent requests.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.reads = RequestRate(READS_PER_SECOND, MAX_READS, clock)
        self.changes = RequestRate(CHANGES_PER_SECOND, MAX_CHANGES, clock)
        self.places = FairLimiter(PLACES, lambda _team: True)
