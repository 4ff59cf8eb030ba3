"""Rate limits of teams, members and keys: calls, generations, and generations in flight."""

from dataclasses import dataclass, fields
from enum import StrEnum

from app.domain.budget import SpendingRefused

MAX_LIMIT = 1_000_000
"""The largest value of any limit."""


class LimitLevel(StrEnum):
    """The level at which a limit counts. A call must be within the limits of all levels."""

    TEAM = "team"
    MEMBER = "member"
    KEY = "key"


class LimitKind(StrEnum):
    """The quantity that a limit counts. The first two are counted in a sliding window."""

    CALLS = "calls_per_minute"
    GENERATIONS = "generations_per_hour"
    IN_FLIGHT = "in_flight"
    """Generations that were submitted and have not ended."""


WINDOW_SECONDS = {LimitKind.CALLS: 60, LimitKind.GENERATIONS: 3600}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one team, member or key. The fields are named after LimitKind. None means no limit."""

    calls_per_minute: int | None = None
    generations_per_hour: int | None = None
    in_flight: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if a limit is out of range."""
        for kind, maximum in self.by_kind().items():
            if maximum is not None and not 1 <= maximum <= MAX_LIMIT:
                raise ValueError(f"{kind} is out of range")

    def by_kind(self) -> dict[LimitKind, int | None]:
        """Return the limit of each kind."""
        return {LimitKind(field.name): getattr(self, field.name) for field in fields(self)}


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A limit of calls or generations in a window.

    Attributes:
        kind: CALLS or GENERATIONS.
        holder: id of the team, member or key; of a rotated key, the first id in its chain of rotations.
        maximum: largest number in any window.

    """

    kind: LimitKind
    level: LimitLevel
    holder: str
    maximum: int

    @property
    def window_seconds(self) -> int:
        """The length of the window."""
        return WINDOW_SECONDS[self.kind]


@dataclass(frozen=True, slots=True)
class LimitUse:
    """The use of a limit.

    Attributes:
        used: number of calls or generations that count now; None if it cannot be read.
        renews_in_seconds: time until the oldest counted call or generation counts no more; None if nothing is counted,
            or if that time is not known.

    """

    kind: LimitKind
    level: LimitLevel
    maximum: int
    used: int | None
    renews_in_seconds: float | None = None


class InFlightLimitReached(SpendingRefused):
    """A purchase was refused by the limit of generations in flight. Nothing was reserved."""

    def __init__(self, level: LimitLevel, maximum: int) -> None:
        """`level` and `maximum` are those of the limit."""
        super().__init__(f"This {level} has {maximum} generations in flight, which is its limit.")
        self.level = level
        self.maximum = maximum
