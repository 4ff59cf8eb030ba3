"""Caches the keys of an issuer: reads them again now and then, and for a token that names another key."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.adapters.auth.jwt.faults import IssuerUnavailable, TokenRefused
from app.adapters.auth.jwt.keys import KeySet, VerificationKey
from app.ports.auth import AuthenticationUnavailable, TokenFault
from app.services.log_throttle import LogThrottle, ThrottledExceptionLog

REFRESH_SECONDS = 300.0
"""Interval at which the keys are read: a key that the issuer has withdrawn counts for so long at most."""

RETRY_SECONDS = 10.0
"""Shortest time between two reads of the keys, whatever asks for them: made-up keys cost one read in this time."""

KEPT_SECONDS = 3600.0
"""How long keys count while the issuer does not answer."""

MOST_WAITING = 200
"""Requests that wait for the keys to be read; further ones get 503."""

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
    ) -> None:
        """`read` raises IssuerUnavailable. `clock` returns seconds that never go back."""
        self._read = read
        self._clock = clock
        self._sleep = sleep
        self._keys: KeySet | None = None
        self._read_at = 0.0
        self._tried_at: float | None = None
        self._is_failing = False
        self._refreshing: asyncio.Task[None] | None = None
        self._waiting = 0
        self._outages = LogThrottle(clock)
        self._faults = ThrottledExceptionLog(log, "The keys of the identity provider could not be read")

    @property
    def digest(self) -> bytes | None:
        """A digest of the keys, which changes with them; None without keys."""
        return self._keys.digest if self._keys is not None else None

    async def count_keys(self) -> int:
        """Read the keys once, for `luma-mcp check`, and return how many there are. Raises IssuerUnavailable."""
        return len(await self._read())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the keys at once, and again from time to time while entered."""
        following = asyncio.create_task(self._follow())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            tasks = [following, *([self._refreshing] if self._refreshing is not None else [])]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def find(self, key_id: str | None, algorithm: str) -> VerificationKey:
        """Return the key that a token names by its `kid`, or the only one that fits a token without `kid`.

        A `kid` that is not known has the keys read, at most once in RETRY_SECONDS. Raises TokenRefused, and
        AuthenticationUnavailable if the issuer does not answer.
        """
        if (keys := self._named(key_id)) is None or not keys:
            await self._refreshed()
            keys = self._named(key_id)
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

    def _named(self, key_id: str | None) -> list[VerificationKey] | None:
        """Return the keys with this `kid`; None if no keys are known, or those that are known are too old."""
        if self._keys is None or self._clock() - self._read_at > KEPT_SECONDS:
            return None
        return self._keys.named(key_id)

    async def _refreshed(self) -> None:
        """Wait until the keys have been read, if they may be read now or are being read."""
        if (refresh := self._refresh_if_due()) is None:
            return
        if self._waiting >= MOST_WAITING:
            raise AuthenticationUnavailable(NO_KEYS)
        self._waiting += 1
        try:
            await asyncio.wait([refresh])
        finally:
            self._waiting -= 1

    def _refresh_if_due(self) -> asyncio.Task[None] | None:
        """Return the refresh that is under way, or begin one; None within RETRY_SECONDS of the last one."""
        now = self._clock()
        if self._refreshing is None and (self._tried_at is None or now - self._tried_at >= RETRY_SECONDS):
            self._tried_at = now
            self._refreshing = asyncio.create_task(self._refresh())
        return self._refreshing

    async def _refresh(self) -> None:
        try:
            self._keys = await self._read()
            self._read_at, self._is_failing = self._clock(), False
        except IssuerUnavailable as exc:
            self._is_failing = True
            if (count := self._outages.count()) is not None:
                log.warning(
                    "The keys of the identity provider cannot be read, because it %s (%d times since the last such "
                    "line): known keys count for %.0f minutes after they were read, then its tokens get 503. "
                    "`luma-mcp check` tries it",
                    exc,
                    count,
                    KEPT_SECONDS / 60,
                )
        except Exception as exc:  # noqa: BLE001 - without it the keys would never be read again
            self._is_failing = True
            self._faults.note(exc)
        finally:
            self._refreshing = None

    async def _follow(self) -> None:
        while True:
            if (refresh := self._refresh_if_due()) is not None:
                await asyncio.wait([refresh])
            await self._sleep(RETRY_SECONDS if self._is_failing else REFRESH_SECONDS)
