"""What administrators write of credentials, times and prices: rules that hold without a database."""

import re
from datetime import UTC, datetime
from typing import Literal

from app.domain.money import parse_amount
from app.domain.teams import parsed_duration

LONGEST_SECRET = 4000
"""Characters of a credential; with its scheme, it fits an Authorization header."""

NEVER: Literal["never"] = "never"
_SECRET = re.compile(rf"[!-~]{{1,{LONGEST_SECRET}}}")
"""ASCII without blanks, as it has to be in a header."""


def is_credential(text: str) -> bool:
    """Return whether `text` may be a credential for a backend."""
    return _SECRET.fullmatch(text) is not None


def parsed_time(text: str) -> float:
    """Return the unix seconds of a date or an ISO time, in UTC unless it says otherwise. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("A time is a date such as 2026-11-01, or an ISO time.") from None


def parsed_moment(text: str, now: float) -> float:
    """Return the unix seconds of a date, an ISO time or a duration before `now`. Raises ValueError with a sentence."""
    for parse in (parsed_time, lambda given: now - parsed_duration(given)):
        try:
            return parse(text)
        except ValueError:
            continue
    raise ValueError("A time is a date such as 2026-11-01, an ISO time, or 30d for the last.")


def parsed_threshold(text: str) -> int | Literal["never"]:
    """Return the millionths above which a generation is confirmed, or "never". Raises ValueError with a sentence."""
    if text == NEVER:
        return NEVER
    try:
        return parse_amount(text)
    except ValueError:
        raise ValueError("This is an amount such as 5 or 1.19, or the word never.") from None
