"""How often a team, a member or a key may call and generate, and how many generations may be in flight."""

from dataclasses import dataclass, fields
from enum import StrEnum

from app.domain.budget import SpendingRefused

MOST = 1_000_000
"""The highest limit of any kind."""


class LimitLevel(StrEnum):
    """Whose calls a limit counts. Limits of all levels apply at once."""

    TEAM = "team"
    MEMBER = "member"
    KEY = "key"


class LimitKind(StrEnum):
    """What a limit counts. The first two count in a sliding window."""

    CALLS = "calls_per_minute"
    GENERATIONS = "generations_per_hour"
    IN_FLIGHT = "in_flight"
    """Generations that were submitted and have not ended."""


WINDOW_SECONDS = {LimitKind.CALLS: 60, LimitKind.GENERATIONS: 3600}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one team, member or key, by the names of LimitKind. None sets no limit."""

    calls_per_minute: int | None = None
    generations_per_hour: int | None = None
    in_flight: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a limit that is out of range."""
        for kind, most in self.by_kind().items():
            if most is not None and not 1 <= most <= MOST:
                raise ValueError(f"{kind} is out of range")

    def by_kind(self) -> dict[LimitKind, int | None]:
        """Return the limit of each kind."""
        return {LimitKind(one.name): getattr(self, one.name) for one in fields(self)}


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A limit of calls or generations in a window.

    Attributes:
        kind: CALLS or GENERATIONS.
        holder: the id of the team, member or key; of a rotated key, the first id of its line.
        most: the number that fits into any window.

    """

    kind: LimitKind
    level: LimitLevel
    holder: str
    most: int

    @property
    def window_seconds(self) -> int:
        """Return the length of the window."""
        return WINDOW_SECONDS[self.kind]


class InFlightLimitReached(SpendingRefused):
    """A purchase was refused, because as many generations are in flight as may be. Nothing was reserved."""

    def __init__(self, level: LimitLevel, most: int) -> None:
        """Carry whose limit it is, and the limit."""
        super().__init__(f"This {level} has {most} generations in flight, which is its limit.")
        self.level = level
        self.most = most
