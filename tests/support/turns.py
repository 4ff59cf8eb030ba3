"""Turns at the database for tests in which no caller has to wait for long."""

from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.database_turns import DatabaseTurns
from app.services.limits.fair_limiter import FairLimiter, Shares


def database_turns(places: int = 4, waiting: int = 1000) -> DatabaseTurns:
    """Return turns in which any caller may run `places` operations at once; `waiting` more may wait."""
    return DatabaseTurns(
        FairLimiter(Shares(places, places, places), _is_accepted),
        CallerQuota(QuotaLimits(waiting, waiting, waiting), _is_accepted),
    )


def _is_accepted(_caller: str) -> bool:
    return True
