"""Caches the keys of an issuer. They are refreshed periodically, and when a token names an unknown key."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.adapters.auth.jwt.faults import IssuerUnavailable, TokenRefused
from app.adapters.auth.jwt.keys import KeySet, VerificationKey
from app.ports.auth import AuthenticationUnavailable, TokenFault
from app.services.log_throttle import LogThrottle, ThrottledExceptionLog

REFRESH_SECONDS = 300.0
"""Interval of the refreshes. While they succeed, a withdrawn key is accepted for this time at most."""

RETRY_SECONDS = 10.0
"""Shortest time between two reads of the keys. Tokens that name invented keys cannot cause more reads."""

MAX_KEY_AGE_SECONDS = 3600.0
"""Time for which keys are used while the issuer does not answer."""

MAX_WAITING = 200
"""Maximum number of requests that wait for a read of the keys. Further ones get 503."""

NO_KEYS = (
    "Tokens of the identity provider cannot be checked right now, because this service cannot read its keys. Try again "
    "shortly."
)

log = logging.getLogger(__name__)


class IssuerKeys:
    """The keys of one issuer, shared by all callers."""

    def __init__(
        self,
        read: Callable[[], Awaitable[KeySet]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Read keys with `read`, which raises IssuerUnavailable. `clock` is monotonic, in seconds.

        `on_refusal` is called for each request that is refused because too many wait.
        """
        self._on_refusal = on_refusal
        self._read = read
        self._clock = clock
        self._sleep = sleep
        self._keys: KeySet | None = None
        self._read_at = 0.0
        self._last_attempt_at: float | None = None
        self._is_failing = False
        self._refresh_task: asyncio.Task[None] | None = None
        self._waiting = 0
        self._outage_throttle = LogThrottle(clock)
        self._faults = ThrottledExceptionLog(log, "The keys of the identity provider could not be read")

    @property
    def digest(self) -> bytes | None:
        """A digest of the keys, which changes when they change; None before they were read."""
        return self._keys.digest if self._keys is not None else None

    async def count_keys(self) -> int:
        """Read the keys once, for `luma-mcp check`, and return how many there are. Raises IssuerUnavailable."""
        return len(await self._read())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start to read the keys, and refresh them periodically while entered."""
        refresher = asyncio.create_task(self._refresh_periodically())
        await asyncio.sleep(0)  # lets the refresher start its first read
        try:
            yield
        finally:
            tasks = [refresher, *([self._refresh_task] if self._refresh_task is not None else [])]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def find(self, key_id: str | None, algorithm: str) -> VerificationKey:
        """Return the key with the `kid` of a token, or the only one that fits a token without `kid`.

        For an unknown `kid` the keys are read again, at most once in RETRY_SECONDS. Raises TokenRefused if no key fits,
        and AuthenticationUnavailable if the issuer does not answer.
        """
        if (keys := self._keys_named(key_id)) is None or not keys:
            await self._wait_for_refresh()
            keys = self._keys_named(key_id)
        if keys is None or (not keys and self._is_failing):
            raise AuthenticationUnavailable(NO_KEYS)
        if not keys:
            raise TokenRefused(TokenFault.KEY)
        fitting = [key for key in keys if algorithm in key.algorithms]
        if not fitting:
            raise TokenRefused(TokenFault.ALGORITHM)
        if len(fitting) > 1 and key_id is None:
            raise TokenRefused(TokenFault.KEY)
        return fitting[0]

    def _keys_named(self, key_id: str | None) -> list[VerificationKey] | None:
        """Return the cached keys with this `kid`, or all if it is None. Return None if the cache is empty or old."""
        if self._keys is None or self._clock() - self._read_at > MAX_KEY_AGE_SECONDS:
            return None
        return self._keys.named(key_id)

    async def _wait_for_refresh(self) -> None:
        """Start a refresh, or join the running one, and wait for its end.

        Return at once if the last one started less than RETRY_SECONDS ago, and has ended. Raises
        AuthenticationUnavailable if too many requests are waiting.
        """
        if (refresh := self._refresh_if_due()) is None:
            return
        if self._waiting >= MAX_WAITING:
            self._on_refusal()
            raise AuthenticationUnavailable(NO_KEYS)
        self._waiting += 1
        try:
            await asyncio.wait([refresh])
        finally:
            self._waiting -= 1

    def _refresh_if_due(self) -> asyncio.Task[None] | None:
        """Return the running refresh, or a new one; None if the last one started less than RETRY_SECONDS ago."""
        now = self._clock()
        is_due = self._last_attempt_at is None or now - self._last_attempt_at >= RETRY_SECONDS
        if self._refresh_task is None and is_due:
            self._last_attempt_at = now
            self._refresh_task = asyncio.create_task(self._refresh())
        return self._refresh_task

    async def _refresh(self) -> None:
        try:
            self._keys = await self._read()
            self._read_at, self._is_failing = self._clock(), False
        except IssuerUnavailable as exc:
            self._is_failing = True
            if (count := self._outage_throttle.count()) is not None:
                log.warning(
                    "The keys of the identity provider cannot be read, because it %s (%d times since the last such "
                    "line). Cached keys are used for %.0f minutes after they were read, then its tokens get 503. "
                    "Run `luma-mcp check` to test the identity provider",
                    exc,
                    count,
                    MAX_KEY_AGE_SECONDS / 60,
                )
        except Exception as exc:  # noqa: BLE001 - an exception must not end the periodic refreshes
            self._is_failing = True
            self._faults.note(exc)
        finally:
            self._refresh_task = None

    async def _refresh_periodically(self) -> None:
        while True:
            if (refresh := self._refresh_if_due()) is not None:
                await asyncio.wait([refresh])
            await self._sleep(RETRY_SECONDS if self._is_failing else REFRESH_SECONDS)
