"""The background work of a cache that follows a version in the database."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.ports.repositories import DatabaseUnavailable
from app.services.log_throttle import LogThrottle, ThrottledExceptionLog

VERSION_SECONDS = 2.0
"""Interval at which the version is read. What has ended counts for so long at most."""

USED_SECONDS = 60.0
"""Interval at which it is recorded what was used."""


@dataclass(frozen=True, slots=True)
class CacheClocks:
    """Unix seconds, seconds that never go back, and a sleep by the latter."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FollowedCache:
    """What a cache does again and again.

    Attributes:
        follow: reads the version, and drops what it has outdated. Raises DatabaseUnavailable.
        note_used: records what was used. Raises DatabaseUnavailable.
        outage: the log line while the database is out; it takes the exception and a number of times.
        fault: the log line for an unexpected exception.

    """

    follow: Callable[[], Awaitable[None]]
    note_used: Callable[[], Awaitable[None]]
    outage: str
    fault: str


async def follow_version(cache: FollowedCache, clocks: CacheClocks, log: logging.Logger) -> None:
    """Follow the version, and record what was used. The coroutine runs until it is cancelled."""
    faults, outages = ThrottledExceptionLog(log, cache.fault), LogThrottle(clocks.monotonic)
    note_at = clocks.monotonic() + USED_SECONDS
    while True:
        try:
            await cache.follow()
            if clocks.monotonic() >= note_at:
                note_at = clocks.monotonic() + USED_SECONDS
                await cache.note_used()
        except DatabaseUnavailable as exc:
            if (count := outages.count()) is not None:
                log.warning(cache.outage, exc, count)
        except Exception as exc:  # noqa: BLE001 - without it, what was revoked would count for good
            faults.note(exc)
        await clocks.sleep(VERSION_SECONDS)
