"""The failures that a fault excuses, and when. Any other failed call counts as lost, any untrue answer as wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """The failures that are excused, and the limits that hold, under one fault.

    Excuses count for calls that overlap the fault or the `grace_seconds` after it; limits count all the time.
    """

    reads: frozenset[str] = frozenset()
    """Error codes that a read may get for an id that no earlier answer showed as finished; "unauthorized": any id."""
    purchases: frozenset[str] = frozenset()
    """Outcomes of a purchase (constants in purchases.py, or error codes) that are excused."""
    may_cut: bool = False
    """Connections may fail in the middle of a call."""
    none_listens: bool = False
    """A call that finds no replica is treated like one that was cut off, and not as lost at once."""
    races: int = 0
    """The number of calls that may be cut off although `may_cut` is False, because a stopping replica closes their
    idle connection just when they use it."""
    may_refuse_values: bool = False
    """The fault corrupts values in Redis, so failed signatures are expected at any time. Otherwise none may occur."""
    read_seconds: float = 5.0
    """The time limit of a read, in addition to its own `wait_seconds`."""
    purchase_seconds: float = 5.0
    """The time limit of a purchase, without its wait for another attempt with the same key."""
    grace_seconds: float = 2.0
    """How long after the fault excuses still count: the time that a retry may take."""
    recovery_seconds: float = 5.0
    """The time limit of the recovery check (canary.py), from the end of the fault. A fault that ends a process lasts
    until another one answers."""
    most_megabytes: float = 170.0
    """The peak resident memory that a process of the service may reach during the scenario."""


STRICT = Terms()
"""Nothing is excused."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time of a fault (monotonic seconds), and the grace after it."""

    broken_at: float
    mended_at: float
    grace_seconds: float

    def excuses(self, started: float, ended: float) -> bool:
        """Whether a call overlaps the fault or the grace after it."""
        return started <= self.mended_at + self.grace_seconds and ended >= self.broken_at
