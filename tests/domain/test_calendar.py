"""Calendar windows, also when clocks change, dates are skipped and offsets are unusual."""

from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.calendar import Interval, Window, day_of, parse_day, start_of_day, time_zone, window_at

HOUR = 3600.0
ZONES = [
    "Africa/Cairo",
    "America/Havana",
    "America/St_Johns",
    "America/Toronto",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "UTC",
]


def at(text: str) -> float:
    """Return unix seconds of an ISO time; without an offset it is in UTC."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def window(kind: str, moment: str, zone: str) -> Interval:
    return window_at(Window(kind), at(moment), ZoneInfo(zone))


@pytest.mark.parametrize(
    ("kind", "moment", "zone", "start", "end"),
    [
        # the clocks go forward at 2:00 on 2026-03-29, and back at 3:00 on 2026-10-25
        ("day", "2026-03-29T12:00+02:00", "Europe/Berlin", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"),
        ("day", "2026-10-25T12:00+01:00", "Europe/Berlin", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("week", "2026-03-29T12:00+02:00", "Europe/Berlin", "2026-03-23T00:00+01:00", "2026-03-30T00:00+02:00"),
        ("week", "2026-10-25T12:00+01:00", "Europe/Berlin", "2026-10-19T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("month", "2026-03-15T12:00+01:00", "Europe/Berlin", "2026-03-01T00:00+01:00", "2026-04-01T00:00+02:00"),
        ("month", "2026-10-31T12:00+01:00", "Europe/Berlin", "2026-10-01T00:00+02:00", "2026-11-01T00:00+01:00"),
        ("day", "2026-03-08T12:00-02:30", "America/St_Johns", "2026-03-08T00:00-03:30", "2026-03-09T00:00-02:30"),
        ("day", "2026-11-01T12:00-03:30", "America/St_Johns", "2026-11-01T00:00-02:30", "2026-11-02T00:00-03:30"),
        # until 2011 the clocks there went back at 0:01, so that 23:01 came again after midnight
        ("day", "2010-11-07T00:30-03:30", "America/St_Johns", "2010-11-07T00:00-02:30", "2010-11-08T00:00-03:30"),
        ("day", "2010-11-06T23:30-03:30", "America/St_Johns", "2010-11-07T00:00-02:30", "2010-11-08T00:00-03:30"),
        ("day", "2010-11-06T23:30-02:30", "America/St_Johns", "2010-11-06T00:00-02:30", "2010-11-07T00:00-02:30"),
        ("day", "2026-05-05T00:00+05:45", "Asia/Kathmandu", "2026-05-05T00:00+05:45", "2026-05-06T00:00+05:45"),
        ("day", "2026-05-04T23:59+05:45", "Asia/Kathmandu", "2026-05-04T00:00+05:45", "2026-05-05T00:00+05:45"),
        ("month", "2026-12-31T20:00+00:00", "Asia/Kathmandu", "2027-01-01T00:00+05:45", "2027-02-01T00:00+05:45"),
        # 2011-12-30 did not happen there
        ("day", "2011-12-29T12:00-10:00", "Pacific/Apia", "2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00"),
        ("day", "2011-12-31T00:00+14:00", "Pacific/Apia", "2011-12-31T00:00+14:00", "2012-01-01T00:00+14:00"),
        ("week", "2011-12-31T12:00+14:00", "Pacific/Apia", "2011-12-26T00:00-10:00", "2012-01-02T00:00+14:00"),
        ("month", "2011-12-31T12:00+14:00", "Pacific/Apia", "2011-12-01T00:00-10:00", "2012-01-01T00:00+14:00"),
        # the clocks go from 0:00 to 1:00, so midnight does not exist
        ("day", "2026-03-29T12:00+03:00", "Asia/Beirut", "2026-03-29T01:00+03:00", "2026-03-30T00:00+03:00"),
        # and here from 23:30 to 0:30 the next day
        ("day", "1919-03-31T12:00-04:00", "America/Toronto", "1919-03-31T00:30-04:00", "1919-04-01T00:00-04:00"),
    ],
)
def test_a_window_begins_and_ends_at_local_midnight(kind: str, moment: str, zone: str, start: str, end: str) -> None:
    assert window(kind, moment, zone) == Interval(at(start), at(end))


def test_a_day_on_which_the_clocks_change_is_an_hour_shorter_or_longer() -> None:
    lengths = [
        (found.end - found.start) / HOUR
        for found in (window("day", f"{day}T10:00", "Europe/Berlin") for day in ("2026-03-29", "2026-10-25"))
    ]
    assert lengths == [23, 25]


def test_a_day_begins_at_local_midnight_and_not_at_midnight_utc() -> None:
    """Users of another proxy saw windows that renew late by their offset (litellm #34896, #37454, #40978)."""
    assert window("day", "2026-07-01T22:00+00:00", "Europe/Berlin").start == at("2026-07-01T22:00+00:00")
    assert window("day", "2026-07-01T21:59:59+00:00", "Europe/Berlin").end == at("2026-07-01T22:00+00:00")


def test_a_week_begins_on_monday() -> None:
    """Users of another proxy saw weeks that begin on another day (litellm #33161)."""
    monday = date(2026, 11, 23)
    for day in range(23, 30):
        found = window("week", f"2026-11-{day}T12:00", "UTC")
        assert found == Interval(start_of_day(monday, time_zone("UTC")), at("2026-11-30T00:00"))


def test_all_moments_of_a_month_are_in_one_window() -> None:
    """Users of another proxy saw expiry and budgets rounded alike (litellm #15142)."""
    starts = {window("month", f"2026-02-{day:02}T13:37", "UTC").start for day in range(1, 29)}
    assert starts == {at("2026-02-01T00:00")}


@given(st.integers(-2_000_000_000, 4_000_000_000), st.sampled_from(ZONES), st.sampled_from(list(Window)))
def test_each_moment_is_in_exactly_one_window(moment: int, name: str, kind: Window) -> None:
    zone = ZoneInfo(name)
    found = window_at(kind, moment, zone)
    assert found.start <= moment < found.end
    assert window_at(kind, found.start, zone) == found
    assert window_at(kind, found.end - 1, zone) == found
    assert window_at(kind, found.end, zone).start == found.end
    assert window_at(kind, found.start - 1, zone).end == found.start


@pytest.mark.parametrize("name", ZONES)
def test_windows_follow_each_other_without_a_gap(name: str) -> None:
    zone = ZoneInfo(name)
    first, last = at("2009-12-20"), at("2012-01-10")
    moments = [first + step * HOUR / 2 for step in range(int((last - first) / HOUR * 2))]
    found = [window_at(Window.DAY, moment, zone) for moment in moments]
    for before, after in pairwise(found):
        assert after == before or after.start == before.end


def test_a_repeated_hour_belongs_to_the_new_day() -> None:
    assert day_of(at("2010-11-06T23:30-03:30"), ZoneInfo("America/St_Johns")) == date(2010, 11, 7)
    assert day_of(at("2026-03-29T12:00"), ZoneInfo("Asia/Beirut")) == date(2026, 3, 29)


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "Factory", "a\0b", "Ä"]
)
def test_time_zone_raises_for_an_unknown_name(name: str) -> None:
    with pytest.raises(ValueError, match="IANA name"):
        time_zone(name)


def test_parse_day_accepts_one_format_only() -> None:
    assert parse_day("2026-12-31") == date(2026, 12, 31)
    for text in ("2026-12-32", "2026-1-1", "20261231", "2026-W01-1", "1999-12-31", "9999-12-31", "", "tomorrow"):
        with pytest.raises(ValueError, match="A day is written as"):
            parse_day(text)
