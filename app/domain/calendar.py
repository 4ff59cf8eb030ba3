"""Days, weeks and months of a time zone, as intervals of unix seconds.

The intervals have no gaps and never overlap, also when daylight saving time skips or repeats a midnight. A day begins
at the first instant that has its local date.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS_IN_WEEK = 7
MONTHS_IN_YEAR = 12
FIRST_YEAR, LAST_YEAR = 2000, 2999


NO_PLACES = frozenset({"localtime", "posixrules", "Factory"})
"""Files beside the time zones: the zone of the machine, which differs from replica to replica, and defaults."""


class Window(StrEnum):
    """The calendar unit after which a budget renews. Weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Interval:
    """A half-open interval in unix seconds: `end` is not part of it."""

    start: float
    end: float


def time_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone with this name. Raises ValueError, whose text is a sentence, if there is none."""
    if name not in NO_PLACES:
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):  # OSError for names such as "Europe": folders
            return ZoneInfo(name)
    raise ValueError("A time zone is an IANA name such as Europe/Berlin or UTC.")


def parse_day(text: str) -> date:
    """Parse an ISO date such as `2026-12-31`. Raises ValueError, whose text is a sentence."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        day = date.min
    if day.isoformat() != text or not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"A day is written as 2026-12-31, from {FIRST_YEAR} to {LAST_YEAR}.")
    return day


def window_at(window: Window, moment: float, zone: ZoneInfo) -> Interval:
    """Return the day, week or month in `zone` that contains `moment` (unix seconds).

    If clocks go back over midnight, the repeated part of the old day belongs to the new day.
    """
    first = _first_day(window, datetime.fromtimestamp(moment, zone).date())
    start, following = start_of_day(first, zone), _next_first_day(window, first)
    while (end := start_of_day(following, zone)) <= moment:
        start, following = end, _next_first_day(window, following)
    return Interval(start, end)


def day_of(moment: float, zone: ZoneInfo) -> date:
    """Return the date of the day that contains `moment` (unix seconds)."""
    return datetime.fromtimestamp(window_at(Window.DAY, moment, zone).start, zone).date()


def start_of_day(day: date, zone: ZoneInfo) -> float:
    """Return the first instant (unix seconds) whose local date is `day` or later."""
    midnight = datetime.combine(day, time())
    after = midnight.replace(tzinfo=zone).timestamp()
    if _local(after, zone) == midnight:
        return after
    # The clocks skip midnight. The change lies between `before` and `after`, the two readings of midnight: bisect.
    before = midnight.replace(tzinfo=zone, fold=1).timestamp()
    while after - before > 1:
        middle = (after + before) // 2
        before, after = (before, middle) if _local(middle, zone) >= midnight else (middle, after)
    return after


def _local(moment: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None)


def _first_day(window: Window, day: date) -> date:
    match window:
        case Window.DAY:
            return day
        case Window.WEEK:
            return day - timedelta(days=day.weekday())
        case Window.MONTH:
            return day.replace(day=1)


def _next_first_day(window: Window, first: date) -> date:
    match window:
        case Window.DAY:
            return first + timedelta(days=1)
        case Window.WEEK:
            return first + timedelta(days=DAYS_IN_WEEK)
        case Window.MONTH:
            return date(first.year + first.month // MONTHS_IN_YEAR, first.month % MONTHS_IN_YEAR + 1, 1)


def utc_text(moment: float) -> str:
    """Return unix seconds as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
