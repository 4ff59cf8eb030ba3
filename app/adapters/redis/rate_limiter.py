"""The rate limiter that replicas share. One Lua script checks and counts a call in all of its windows at once."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import InvalidResponse

from app.adapters.redis.connection import RedisConnection
from app.adapters.redis.scripts import COUNT_CALL, READ
from app.domain.rate_limit import LimitUse, RateLimit
from app.ports.rate_limiter import OverLimit
from app.services.key_namespace import KeyNamespace
from app.services.limits.sliding_window import BUCKETS, SlidingWindow, limit_use

KIND = "rate"
"""The `kind` part of the Redis keys."""

MAX_VALUE_BYTES = 4096
"""A longer value comes from another program, and is read as an empty window, as COUNT_CALL reads it."""

_COUNTS = re.compile(rb"(\d{1,15}):(\d{1,15})")


class RedisRateLimiter:
    """Sliding windows in Redis. All keys of a team are on one node of a Cluster."""

    def __init__(self, connection: RedisConnection, keys: KeyNamespace, wall_clock: Callable[[], float]) -> None:
        """Use `connection`, which its owner closes. `wall_clock` returns Unix seconds."""
        self._connection = connection
        self._client: Any = connection.client
        self._keys = keys
        self._wall_clock = wall_clock

    async def count_call(self, owner: str, limits: Sequence[RateLimit]) -> OverLimit | None:
        """Count one call in all windows, and return None; or count it in none, and return the limit that refuses it.

        Raises StoreUnavailable.
        """
        keys = self._window_keys(owner, limits)
        arguments = [value for limit in limits for value in (limit.maximum, limit.window_seconds * 1000 // BUCKETS)]
        async with self._connection.operation(owner):
            now_ms = round(self._wall_clock() * 1000)
            reply = await self._client.eval(COUNT_CALL, len(keys), *keys, now_ms, *arguments)
            limit_number, wait_ms = _parse_reply(reply, limits)
        return None if limit_number == 0 else OverLimit(limits[limit_number - 1], wait_ms / 1000)

    async def usage(self, owner: str, limits: Sequence[RateLimit]) -> list[LimitUse]:
        """Return the use of each limit. Raises StoreUnavailable."""
        keys = self._window_keys(owner, limits)
        async with self._connection.operation(owner):
            now_ms = round(self._wall_clock() * 1000)
            values = await self._client.eval(READ, len(keys), *keys, MAX_VALUE_BYTES)
        return [limit_use(limit, _window(limit, value), now_ms) for limit, value in zip(limits, values, strict=True)]

    def _window_keys(self, owner: str, limits: Sequence[RateLimit]) -> list[str]:
        return [self._keys.key(owner, KIND, f"{limit.kind}:{limit.level}:{limit.holder}") for limit in limits]


def _window(limit: RateLimit, value: bytes | None) -> SlidingWindow:
    """Parse a value written by COUNT_CALL. Other values give an empty window."""
    window = SlidingWindow(limit.window_seconds)
    window.restore((int(bucket), int(count)) for bucket, count in _COUNTS.findall(value or b""))
    return window


def _parse_reply(reply: object, limits: Sequence[RateLimit]) -> tuple[int, int]:
    """Return the 1-based index in `limits` of the limit that refuses, and its wait in ms; 0 and 0 if none refuses.

    Raises InvalidResponse for another reply, and for a wait of more than two windows and a bucket, which comes from
    values that other programs have written. Shorter waits may come from a replica whose clock is a window ahead.
    """
    match reply:
        case [int(limit_number), int(wait_ms)] if 0 <= limit_number <= len(limits):
            if limit_number == 0 or 0 <= wait_ms <= _longest_wait_ms(limits[limit_number - 1]):
                return limit_number, wait_ms
    raise InvalidResponse("COUNT_CALL returned an unexpected reply")


def _longest_wait_ms(limit: RateLimit) -> int:
    """Return the wait at the start of a bucket, if the newest counted bucket is BUCKETS later."""
    return (2 * BUCKETS + 1) * (limit.window_seconds * 1000 // BUCKETS)
