"""The rate limiter that replicas share: one script checks and counts all windows of a call at once."""

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import InvalidResponse

from app.adapters.redis.connection import RedisConnection
from app.adapters.redis.scripts import TAKE
from app.domain.rate_limit import RateLimit
from app.ports.rate_limiter import OverLimit
from app.services.key_namespace import KeyNamespace
from app.services.limits.sliding_window import BUCKETS

KIND = "rate"


class RedisRateLimiter:
    """Sliding windows in Redis. All keys of a team are on one node of a Cluster."""

    def __init__(self, link: RedisConnection, keys: KeyNamespace, wall_clock: Callable[[], float]) -> None:
        """Use `link`, which its owner closes. `wall_clock` returns Unix seconds."""
        self._link = link
        self._client: Any = link.client
        self._keys = keys
        self._wall_clock = wall_clock

    async def take(self, owner: str, limits: Sequence[RateLimit]) -> OverLimit | None:
        """Count one call in all windows, or in none and return the limit that refuses. Raises StoreUnavailable."""
        names = [self._keys.key(owner, KIND, f"{limit.kind}:{limit.level}:{limit.holder}") for limit in limits]
        terms = [term for limit in limits for term in (limit.most, limit.window_seconds * 1000 // BUCKETS)]
        async with self._link.operation(owner):
            reply = await self._client.eval(TAKE, len(names), *names, round(self._wall_clock() * 1000), *terms)
            number, wait_ms = _numbers(reply, limits)
        return None if number == 0 else OverLimit(limits[number - 1], wait_ms / 1000)


def _numbers(reply: object, limits: Sequence[RateLimit]) -> tuple[int, int]:
    """Return the two numbers of a reply. Raises InvalidResponse for any other reply.

    What others wrote into a window may ask for a longer wait than any that this service has counted.
    """
    match reply:
        case [int(number), int(wait_ms)] if 0 <= number <= len(limits):
            if number == 0 or 0 <= wait_ms <= 2000 * limits[number - 1].window_seconds:
                return number, wait_ms
    raise InvalidResponse("no answer of the rate limiter")
