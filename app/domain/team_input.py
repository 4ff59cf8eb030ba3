"""Parses and validates the input of administrators: credentials, times and thresholds."""

import re
from datetime import UTC, datetime
from typing import Literal

from app.domain.money import parse_amount
from app.domain.teams import parsed_duration

MAX_SECRET_LENGTH = 4000
"""Longest credential, in characters. With its scheme it fits into an Authorization header."""

NEVER: Literal["never"] = "never"
_SECRET = re.compile(rf"[!-~]{{1,{MAX_SECRET_LENGTH}}}")
"""Visible ASCII characters, as a header requires."""


def is_credential(text: str) -> bool:
    """Return whether `text` may be a credential for a backend."""
    return _SECRET.fullmatch(text) is not None


def parsed_time(text: str) -> float:
    """Parse a date or an ISO time into unix seconds; UTC unless it has an offset. Raises ValueError with a sentence."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("A time is a date such as 2026-11-01, or an ISO time.") from None


def parsed_moment(text: str, now: float) -> float:
    """Parse a date, an ISO time or a duration before `now` into unix seconds. Raises ValueError with a sentence."""
    for parse in (parsed_time, lambda duration: now - parsed_duration(duration)):
        try:
            return parse(text)
        except ValueError:
            continue
    raise ValueError("A time is a date such as 2026-11-01, an ISO time, or 30d for the last 30 days.")


def parsed_threshold(text: str) -> int | Literal["never"]:
    """Parse the price above which generations must be confirmed, in millionths, or "never".

    Raises ValueError with a sentence.
    """
    if text == NEVER:
        return NEVER
    try:
        return parse_amount(text)
    except ValueError:
        raise ValueError("This is an amount such as 5 or 1.19, or the word never.") from None
