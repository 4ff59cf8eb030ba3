"""What a fault excuses, and for how long: everything that is not named here is lost, or wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """How well the service has to do under one fault.

    `reads` and `purchases` name how a question about an id that nobody has read yet, and a purchase, may be turned
    down while the fault lasts, and `grace_seconds` longer, which is what a retry may take. A call may be cut off only
    if `may_cut`, or, where replicas are stopped, in the few races for a connection that `races` counts; if
    `none_listens`, a call that found no replica counts as cut off. A call has to be answered in time, a new one
    `recovery_seconds` after the fault, and a replica may hold `most_megabytes`. No value in the store may look like
    somebody else's, or like noise, unless it is spoilt: `may_refuse_values`.
    """

    reads: frozenset[str] = frozenset()
    purchases: frozenset[str] = frozenset()
    may_cut: bool = False
    none_listens: bool = False
    races: int = 0
    may_refuse_values: bool = False
    read_seconds: float = 5.0
    purchase_seconds: float = 5.0
    grace_seconds: float = 2.0
    recovery_seconds: float = 5.0
    most_megabytes: float = 170.0


STRICT = Terms()
"""Nothing is excused."""


@dataclass(frozen=True, slots=True)
class Window:
    """When something was broken, by the monotonic clock, with the grace after it."""

    broken_at: float
    mended_at: float
    grace_seconds: float

    def excuses(self, started: float, ended: float) -> bool:
        """Whether a call met the fault."""
        return started <= self.mended_at + self.grace_seconds and ended >= self.broken_at
