"""Days, weeks and months of a time zone, as intervals of unix seconds.

The intervals follow each other without a gap and never overlap, whatever the clocks do. A day begins at the first
instant whose local date it is, so a midnight that daylight saving time skips or repeats ends no day early or twice.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS_IN_WEEK = 7
MONTHS_IN_YEAR = 12
FIRST_YEAR, LAST_YEAR = 2000, 2999


class Window(StrEnum):
    """The calendar unit after which a budget renews. Weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start` to just before `end`, in unix seconds."""

    start: float
    end: float


def time_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of this name. Raises ValueError, with a sentence, where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError for names such as "Europe", which are folders
        raise ValueError("A time zone is an IANA name such as Europe/Berlin or UTC.") from None


def parse_day(text: str) -> date:
    """Return the day that an ISO date such as `2026-12-31` names. Raises ValueError, with a sentence."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        day = date.min
    if day.isoformat() != text or not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"A day is written as 2026-12-31, from {FIRST_YEAR} to {LAST_YEAR}.")
    return day


def window_at(window: Window, moment: float, zone: ZoneInfo) -> Interval:
    """Return the window of `zone`'s calendar that holds `moment`.

    Where clocks go back over midnight, the repeated part of the old day belongs to the day that has begun.
    """
    first = _first_day(window, datetime.fromtimestamp(moment, zone).date())
    start, following = start_of_day(first, zone), _next(window, first)
    while (end := start_of_day(following, zone)) <= moment:
        start, following = end, _next(window, following)
    return Interval(start, end)


def day_of(moment: float, zone: ZoneInfo) -> date:
    """Return the day whose window holds `moment`."""
    return datetime.fromtimestamp(window_at(Window.DAY, moment, zone).start, zone).date()


def start_of_day(day: date, zone: ZoneInfo) -> float:
    """Return the first instant whose local date is `day` or a later one."""
    midnight = datetime.combine(day, time())
    found = midnight.replace(tzinfo=zone).timestamp()
    if _local(found, zone) == midnight:
        return found
    # The clocks skip midnight. Read with the offset after the change, it lies before it.
    before = midnight.replace(tzinfo=zone, fold=1).timestamp()
    while found - before > 1:
        middle = (found + before) // 2
        before, found = (before, middle) if _local(middle, zone) >= midnight else (middle, found)
    return found


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


def _next(window: Window, first: date) -> date:
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
