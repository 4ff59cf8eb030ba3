"""Enforces the rate limits of teams, members and keys, which their administrators set.

Callers without limits cost nothing here. Without Redis, all calls pass: rate limits protect a team from its own
members, and money is protected by budgets, which the database enforces.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cachetools import LRUCache

from app.domain.access import Principal
from app.domain.errors import RateLimited
from app.domain.rate_limit import InFlightLimitReached, LimitKind, LimitUse, RateLimit
from app.ports.rate_limiter import OverLimit, RateLimiter
from app.ports.store import StoreBusy, StoreUnavailable
from app.services.log_throttle import LogThrottle

T = TypeVar("T")

COOLDOWN_SECONDS = 1.0
"""Pause after a failure of Redis. One call then tries it again."""

MAX_CACHED_SECONDS = 60.0
"""Longest time for which a refusal is repeated from memory. Redis may have lost the windows meanwhile."""

MAX_CACHED = 10_000
"""Size of the cache of limits that are reached, and of the cache of refused callers; about 300 bytes an entry."""

FLOOD_REFUSALS = 10
"""Refused calls after which a caller gets 429 for whole HTTP requests, as long as the limit refuses."""

IN_FLIGHT_RETRY_SECONDS = 10.0
"""Advised pause after a refusal by the limit of generations in flight. The end of a generation is not predictable."""

SENTENCES = {
    LimitKind.CALLS: (
        "The limit of calls for this {level}, {maximum} a minute, is reached. Nothing was done. An administrator of "
        "the team sets it: ask for several tasks in one luma_get_tasks_batch, or call less often."
    ),
    LimitKind.GENERATIONS: (
        "The limit of generations for this {level}, {maximum} an hour, is reached. Nothing was sent. An administrator "
        "of the team sets it: tell the user; tasks can still be read."
    ),
    LimitKind.IN_FLIGHT: (
        "The limit of generations in flight for this {level}, {maximum} at once, is reached. Nothing was sent. An "
        "administrator of the team sets it: wait until a running task has ended."
    ),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _CachedRefusal:
    """A limit that is reached. Times are monotonic.

    Attributes:
        until: when the limit has room again.
        ask_at: when Redis is asked again.

    """

    until: float
    ask_at: float


@dataclass(slots=True)
class _Flood:
    """The number of refused calls of a caller, until its limit has room again at the monotonic time `until`."""

    until: float
    refusals: int = 0


class RateLimits:
    """Counts calls and generations of callers, and refuses those over a limit."""

    def __init__(
        self,
        limiter: RateLimiter,
        clock: Callable[[], float],
        *,
        on_refusal: Callable[[LimitKind], None],
        on_flood: Callable[[], None],
        on_failure: Callable[[], None],
    ) -> None:
        """Count with `limiter`. `clock` is monotonic, in seconds.

        `on_refusal` is called with the kind of limit for each refused call, `on_flood` for each HTTP request that
        `refuse_flood` refuses, and `on_failure` for each failure of Redis.
        """
        self._limiter = limiter
        self._clock = clock
        self._on_refusal = on_refusal
        self._on_flood = on_flood
        self._on_failure = on_failure
        self._refusals: LRUCache[RateLimit, _CachedRefusal] = LRUCache(MAX_CACHED)
        self._floods: LRUCache[str, _Flood] = LRUCache(MAX_CACHED)
        self._resume_at: float | None = None
        self._outage_log, self._flood_log = LogThrottle(clock), LogThrottle(clock)

    async def check(self, principal: Principal, kind: LimitKind) -> None:
        """Count a call or a generation of `principal`. Raises RateLimited if a limit refuses it."""
        limits = [limit for limit in principal.limits if limit.kind is kind]
        if not limits:
            return
        now = self._clock()
        over_limit = self._cached_refusal(limits, now) if self._refusals else None
        if over_limit is None:
            over_limit = await self._ask_redis(lambda: self._limiter.count_call(principal.owner, limits))
            if over_limit is None:  # the call was counted, or Redis failed
                return
            ask_at = now + min(over_limit.wait_seconds, MAX_CACHED_SECONDS)
            self._refusals[over_limit.limit] = _CachedRefusal(now + over_limit.wait_seconds, ask_at)
        raise self._refusal(principal, over_limit, now)

    def refuse_flood(self, principal: Principal) -> float | None:
        """Refuse an HTTP request of a caller with FLOOD_REFUSALS refused calls, until its limit has room again.

        A refusal is counted and logged, and the seconds to wait are returned. Otherwise return None.
        """
        flood = self._floods.get(_caller_id(principal))
        if flood is None or flood.refusals < FLOOD_REFUSALS or (wait := flood.until - self._clock()) <= 0:
            return None
        self._on_flood()
        if (count := self._flood_log.count()) is not None:
            log.warning(
                "Caller %s of team %s goes on calling over a limit of its team: it gets 429 until the limit has room "
                "(%d such answers to all callers since the last such line)",
                _caller_id(principal),
                principal.owner,
                count,
            )
        return wait

    async def usage(self, principal: Principal) -> list[LimitUse]:
        """Return the use of the caller's limits. `used` is None while Redis fails."""
        limits = principal.limits
        uses = await self._ask_redis(lambda: self._limiter.usage(principal.owner, limits)) if limits else []
        if uses is None:
            return [LimitUse(limit.kind, limit.level, limit.maximum, used=None) for limit in limits]
        return uses

    def in_flight_refusal(self, refusal: InFlightLimitReached) -> RateLimited:
        """Return the error for a caller whose generation the database has refused, and count it."""
        self._on_refusal(LimitKind.IN_FLIGHT)
        sentence = SENTENCES[LimitKind.IN_FLIGHT].format(level=refusal.level, maximum=refusal.maximum)
        return RateLimited(sentence, retry_after_seconds=IN_FLIGHT_RETRY_SECONDS)

    def _cached_refusal(self, limits: list[RateLimit], now: float) -> OverLimit | None:
        for limit in limits:
            if (cached := self._refusals.get(limit)) is not None:
                if now < cached.ask_at:
                    return OverLimit(limit, cached.until - now)
                del self._refusals[limit]
        return None

    async def _ask_redis(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Return the result of `ask`, a call of the limiter; None if Redis fails, or in the pause after a failure.

        A failure is reported, and starts a pause of COOLDOWN_SECONDS.
        """
        if not self._may_ask_redis():
            return None
        try:
            result = await ask()
        except StoreBusy:  # a limit of this process, which has its own log line
            return None
        except StoreUnavailable as exc:
            self._fail(exc)
            return None
        self._resume_at = None
        return result

    def _may_ask_redis(self) -> bool:
        """Return False in the pause after a failure, else True.

        When the pause ends, one call gets True, and a new pause begins for the others.
        """
        if self._resume_at is None:
            return True
        now = self._clock()
        if now >= self._resume_at:
            self._resume_at = now + COOLDOWN_SECONDS
            return True
        return False

    def _fail(self, exc: StoreUnavailable) -> None:
        self._resume_at = self._clock() + COOLDOWN_SECONDS
        self._on_failure()
        if (count := self._outage_log.count()) is not None:
            log.warning(
                "Rate limits of teams are not enforced, because Redis fails (%s, %d times since the last such line): "
                "calls and generations pass, within the teams' budgets. Limits of generations in flight hold",
                exc,
                count,
            )

    def _refusal(self, principal: Principal, over_limit: OverLimit, now: float) -> RateLimited:
        limit = over_limit.limit
        self._on_refusal(limit.kind)
        if limit.kind is LimitKind.CALLS:
            self._record_flood(principal, now + min(over_limit.wait_seconds, 2 * limit.window_seconds), now)
        sentence = SENTENCES[limit.kind].format(level=limit.level, maximum=limit.maximum)
        return RateLimited(sentence, retry_after_seconds=float(math.ceil(over_limit.wait_seconds)))

    def _record_flood(self, principal: Principal, until: float, now: float) -> None:
        flood = self._floods.get(_caller_id(principal))
        if flood is None or flood.until <= now:
            flood = self._floods[_caller_id(principal)] = _Flood(until)
        flood.refusals += 1


def _caller_id(principal: Principal) -> str:
    return principal.key or principal.subject
