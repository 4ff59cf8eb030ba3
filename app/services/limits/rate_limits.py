"""Enforces the rate limits of teams, members and keys, which their administrators set.

Callers without limits cost nothing here. Limits fail open: they protect a team from its own members, and what must not
be overspent has a budget, which is in the database.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from app.domain.access import Principal
from app.domain.errors import RateLimited
from app.domain.rate_limit import InFlightLimitReached, LimitKind, RateLimit
from app.ports.rate_limiter import OverLimit, RateLimiter
from app.ports.store import StoreBusy, StoreUnavailable
from app.services.log_throttle import LogThrottle

COOLDOWN_SECONDS = 1.0
"""Pause after a failure of Redis. Then one call tries."""

LONGEST_MEMORY_SECONDS = 60.0
"""Time for which this process refuses by a limit without asking Redis, which may have lost its windows meanwhile."""

MOST_REMEMBERED = 10_000
"""Limits that have refused, and callers whom they refused; about 300 bytes each."""

FLOOD_REFUSALS = 10
"""Calls of a caller that are refused one by one. While the limit still refuses, HTTP answers 429 to further ones."""

IN_FLIGHT_RETRY_SECONDS = 10.0
"""Advice to callers with as many generations in flight as they may have. Nobody can tell when the next one ends."""

SENTENCES = {
    LimitKind.CALLS: (
        "The limit of calls for this {level}, {most} a minute, is reached. Nothing was done. An administrator of the "
        "team sets it: ask for several tasks in one luma_get_tasks_batch, or call less often."
    ),
    LimitKind.GENERATIONS: (
        "The limit of generations for this {level}, {most} an hour, is reached. Nothing was sent. An administrator of "
        "the team sets it: tell the user; tasks can still be read."
    ),
    LimitKind.IN_FLIGHT: (
        "The limit of generations in flight for this {level}, {most} at once, is reached. Nothing was sent. An "
        "administrator of the team sets it: wait until a running task has ended."
    ),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Refusing:
    """A limit that refuses whatever is asked: when it has room again, and when Redis is asked again at the latest."""

    until: float
    ask_at: float


@dataclass(slots=True)
class _Flood:
    """The refusals of one caller since its limit began to refuse, and when that ends."""

    until: float
    refusals: int = 0


class RateLimits:
    """Counts calls and generations of callers, and refuses those over a limit."""

    def __init__(
        self,
        limiter: RateLimiter,
        clock: Callable[[], float],
        *,
        refused: Callable[[LimitKind], None],
        flooded: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        """Count with `limiter`. `clock` is monotonic, in seconds.

        `refused` is called with the kind of limit for each refusal, `flooded` for each call of a flood, and `failed`
        whenever Redis fails.
        """
        self._limiter = limiter
        self._clock = clock
        self._count_refusal = refused
        self._count_flood = flooded
        self._count_failure = failed
        self._refusing: LRUCache[RateLimit, _Refusing] = LRUCache(MOST_REMEMBERED)
        self._floods: LRUCache[str, _Flood] = LRUCache(MOST_REMEMBERED)
        self._resume_at: float | None = None
        self._outages, self._bursts = LogThrottle(clock), LogThrottle(clock)

    async def check(self, principal: Principal, kind: LimitKind) -> None:
        """Count a call or a generation of `principal`. Raises RateLimited if a limit refuses it."""
        limits = [limit for limit in principal.limits if limit.kind is kind]
        if not limits:
            return
        now = self._clock()
        over = self._remembered(limits, now) if self._refusing else None
        if over is None and (over := await self._taken(principal.owner, limits)) is not None:
            ask_at = now + min(over.wait_seconds, LONGEST_MEMORY_SECONDS)
            self._refusing[over.limit] = _Refusing(now + over.wait_seconds, ask_at)
        if over is not None:
            raise self._refusal(principal, over, now)

    def refuse_flood(self, principal: Principal) -> float | None:
        """Return how long a caller must wait who goes on calling although many calls were refused; else None."""
        flood = self._floods.get(_name(principal))
        if flood is None or flood.refusals < FLOOD_REFUSALS or (wait := flood.until - self._clock()) <= 0:
            return None
        self._count_flood()
        if (count := self._bursts.count()) is not None:
            log.warning(
                "Caller %s of team %s goes on calling over a limit of its team: it gets 429 until the limit has room "
                "(%d such answers to all callers since the last such line)",
                _name(principal),
                principal.owner,
                count,
            )
        return wait

    def in_flight_refusal(self, refusal: InFlightLimitReached) -> RateLimited:
        """Return the error for a caller whose generation the database has refused, and count it."""
        self._count_refusal(LimitKind.IN_FLIGHT)
        sentence = SENTENCES[LimitKind.IN_FLIGHT].format(level=refusal.level, most=refusal.most)
        return RateLimited(sentence, retry_after_seconds=IN_FLIGHT_RETRY_SECONDS)

    def _remembered(self, limits: list[RateLimit], now: float) -> OverLimit | None:
        for limit in limits:
            if (known := self._refusing.get(limit)) is not None:
                if now < known.ask_at:
                    return OverLimit(limit, known.until - now)
                del self._refusing[limit]
        return None

    async def _taken(self, owner: str, limits: list[RateLimit]) -> OverLimit | None:
        """Return the limit that refuses; None if the call is counted, or cannot be."""
        if self._is_paused():
            return None
        try:
            over = await self._limiter.take(owner, limits)
        except StoreBusy:  # a limit of this process, which its own log line explains
            return None
        except StoreUnavailable as exc:
            self._fail(exc)
            return None
        self._resume_at = None
        return over

    def _is_paused(self) -> bool:
        """Return whether Redis has just failed. At the end of the pause, one caller may try, and a new pause begins."""
        if self._resume_at is None:
            return False
        now = self._clock()
        if now >= self._resume_at:
            self._resume_at = now + COOLDOWN_SECONDS
            return False
        return True

    def _fail(self, exc: StoreUnavailable) -> None:
        self._resume_at = self._clock() + COOLDOWN_SECONDS
        self._count_failure()
        if (count := self._outages.count()) is not None:
            log.warning(
                "Rate limits of teams are not enforced, because Redis fails (%s, %d times since the last such line): "
                "calls and generations pass, within the teams' budgets. Limits of generations in flight hold",
                exc,
                count,
            )

    def _refusal(self, principal: Principal, over: OverLimit, now: float) -> RateLimited:
        limit = over.limit
        self._count_refusal(limit.kind)
        if limit.kind is LimitKind.CALLS:
            self._note_flood(principal, now + min(over.wait_seconds, 2 * limit.window_seconds), now)
        sentence = SENTENCES[limit.kind].format(level=limit.level, most=limit.most)
        return RateLimited(sentence, retry_after_seconds=float(math.ceil(over.wait_seconds)))

    def _note_flood(self, principal: Principal, until: float, now: float) -> None:
        flood = self._floods.get(_name(principal))
        if flood is None or flood.until <= now:
            flood = self._floods[_name(principal)] = _Flood(until)
        flood.refusals += 1


def _name(principal: Principal) -> str:
    return principal.key or principal.subject
