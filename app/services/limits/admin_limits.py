"""Limits of administration over HTTP, in this process. Its changes lock the directory, and its reads may be long."""

from collections.abc import Callable

from app.services.limits.fair_limiter import FairLimiter, Shares
from app.services.limits.request_rate import RequestRate

READS_PER_SECOND, MOST_READS = 5.0, 60
CHANGES_PER_SECOND, MOST_CHANGES = 1.0, 60
"""Rates of one team, and the requests that it may send at once. Each change has every replica read its teams anew."""

PLACES = Shares(places=2, per_tenant=1, unaccepted=2)
"""Requests that are worked on at once: the other half of the database connections is for calls."""


class AdminLimits:
    """How often a team may read and change something, and the places in which its requests are worked on.

    Attributes:
        reads: takes a team's id.
        changes: takes a team's id.
        places: takes a team's id.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.reads = RequestRate(READS_PER_SECOND, MOST_READS, clock)
        self.changes = RequestRate(CHANGES_PER_SECOND, MOST_CHANGES, clock)
        self.places = FairLimiter(PLACES, lambda _team: True)
