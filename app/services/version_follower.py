"""Background task of a cache that is invalidated by a version number in the database."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.ports.repositories import DatabaseUnavailable
from app.services.log_throttle import LogThrottle, ThrottledExceptionLog

VERSION_SECONDS = 2.0
"""Interval between reads of the version. A revoked key or grant is accepted for about this time, and longer only while
the database does not answer.
"""

RECORD_USE_SECONDS = 60.0
"""Interval at which the last use of keys or grants is recorded."""


@dataclass(frozen=True, slots=True)
class CacheClocks:
    """Clocks in seconds: `wall` is unix time. `sleep` uses the monotonic clock."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FollowedCache:
    """The periodic operations of a cache, and the log lines for their failures.

    Attributes:
        follow: reads the version. If it has changed, drops cached entries or reads them again. Raises
            DatabaseUnavailable.
        record_use: records the last use of keys or grants. Raises DatabaseUnavailable.
        outage: the log line while the database is out, with %s for the exception and %d for the number of failures.
        fault: the log line for an unexpected exception.

    """

    follow: Callable[[], Awaitable[None]]
    record_use: Callable[[], Awaitable[None]]
    outage: str
    fault: str


async def follow_version(cache: FollowedCache, clocks: CacheClocks, log: logging.Logger) -> None:
    """Call `follow` and `record_use` at their intervals. The coroutine runs until it is cancelled."""
    faults, outages = ThrottledExceptionLog(log, cache.fault), LogThrottle(clocks.monotonic)
    next_record_at = clocks.monotonic() + RECORD_USE_SECONDS
    while True:
        try:
            await cache.follow()
            if clocks.monotonic() >= next_record_at:
                next_record_at = clocks.monotonic() + RECORD_USE_SECONDS
                await cache.record_use()
        except DatabaseUnavailable as exc:
            if (count := outages.count()) is not None:
                log.warning(cache.outage, exc, count)
        except Exception as exc:  # noqa: BLE001 - if the loop ended, revocations would never take effect
            faults.note(exc)
        await clocks.sleep(VERSION_SECONDS)
