"""Caches access tokens until a grant ends, so that calls with known tokens do not wait for the database."""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cachetools import LRUCache, TTLCache

from app.ports.auth import AuthenticationUnavailable, Caller
from app.ports.repositories import DatabaseUnavailable
from app.ports.sign_in import SignInTelemetry
from app.ports.sign_in_store import AccessHolder, Grants
from app.services.batched_lookups import BatchedLookups
from app.services.version_follower import CacheClocks, FollowedCache, follow_version

MAX_TOKENS = 10_000
"""Size of each of two caches: of known tokens, about 2 KB an entry, and of digests of unknown tokens."""

UNKNOWN_SECONDS = 10.0
"""Time for which a digest is cached as unknown. It is short, because an expired token may be renewed."""

OUTAGE_SECONDS = 60.0
"""Time for which known tokens are accepted while the version cannot be read. A database failover takes less."""

NO_DATABASE = "Access tokens cannot be checked right now, because this service's database does not answer. Try again."

OUTAGE = (
    "Grants cannot be read (the database %s, %d times since the last such line): sign-ins and "
    "refreshes fail, known access tokens are accepted for a minute, unknown ones get 503"
)
FAULT = "The version of grants could not be read"

log = logging.getLogger(__name__)


class Callers(Protocol):
    """Makes the callers of access tokens."""

    def directory_generation(self) -> int:
        """Return a number that increases when the directory of teams changes. It is constant without a directory.

        Raises AuthenticationUnavailable if the cached directory is too old to be used.
        """
        ...

    async def of(self, holder: AccessHolder) -> Caller | None:
        """Return the caller; None if the person has to sign in again.

        Raises AccessRefused, AuthenticationUnavailable and DatabaseUnavailable.
        """
        ...


@dataclass(slots=True)
class KnownToken:
    """A cached access token, with the caller that it stands for.

    Attributes:
        ends_at: monotonic time of its expiry.
        directory_generation: the generation of the directory of teams when the token was looked up.
        noted_at: monotonic time of the last use that was passed to `note_use`. The caller of `note_use` sets it.

    """

    grant_id: str
    caller: Caller
    ends_at: float
    directory_generation: int
    noted_at: float = -math.inf


class GrantCache:
    """Access tokens by digest. All are dropped when a grant ends. In an outage, they are used for OUTAGE_SECONDS."""

    def __init__(
        self,
        grants: Grants,
        callers: Callers,
        clocks: CacheClocks,
        telemetry: SignInTelemetry,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Cache the access tokens in `grants`. `callers` makes the caller of each.

        `telemetry` counts the grants that ended in another process, such as a command. `on_refusal` is called for each
        look-up that is refused because too many wait.
        """
        self._grants = grants
        self._callers = callers
        self._clock = clocks.monotonic
        self._clocks = clocks
        self._telemetry = telemetry
        self._version: int | None = None
        self._confirmed_at = clocks.monotonic()
        self._clear_count = 0
        """Number of times that the cached tokens were dropped."""
        self._tokens: LRUCache[str, KnownToken] = LRUCache(MAX_TOKENS)
        self._unknown: TTLCache[str, None] = TTLCache(MAX_TOKENS, UNKNOWN_SECONDS, clocks.monotonic)
        self._lookups = BatchedLookups(self._read, on_refusal)
        self._used: set[str] = set()

    @property
    def confirmed_at(self) -> float:
        """The monotonic time at which the last successful read of the version began."""
        return self._confirmed_at

    async def run(self) -> None:
        """Follow the version of grants, and record which were used. The coroutine runs until it is cancelled."""
        await follow_version(FollowedCache(self._follow, self._record_use, OUTAGE, FAULT), self._clocks, log)

    def known(self, digest: str) -> KnownToken | None:
        """Return the cached token with this digest; None if it is not cached. Raises AuthenticationUnavailable."""
        if self._clock() - self._confirmed_at > OUTAGE_SECONDS:
            raise AuthenticationUnavailable(NO_DATABASE)
        known = self._tokens.get(digest)
        if known is not None and (
            self._clock() >= known.ends_at or known.directory_generation != self._callers.directory_generation()
        ):
            del self._tokens[digest]  # a repeated refresh may have renewed the token, or a team has changed
            return None
        return known

    async def token(self, digest: str) -> KnownToken | None:
        """Return the token with this digest, from the cache or the database.

        Return None if the token is unknown, or if its person has to sign in again.

        The first use of a token confirms its grant, which ends the grace period of the previous refresh token.
        Raises AccessRefused and AuthenticationUnavailable.
        """
        if (known := self.known(digest)) is not None:
            return known
        if digest in self._unknown:
            return None
        try:
            return await self._look_up(digest)
        except DatabaseUnavailable:
            raise AuthenticationUnavailable(NO_DATABASE) from None

    def note_use(self, token: KnownToken) -> None:
        """Record that a token was used. The record is written to the database once a minute."""
        self._used.add(token.grant_id)

    async def _look_up(self, digest: str) -> KnownToken | None:
        clear_count = self._clear_count
        holder = await self._lookups.find(digest)
        known = await self._token_of(holder) if holder is not None else None
        if clear_count == self._clear_count:  # a grant may have ended after the read
            if known is None:
                self._unknown[digest] = None
            else:
                self._tokens[digest] = known
        return known

    async def _read(self, digests: Sequence[str]) -> dict[str, AccessHolder]:
        """Read tokens, and confirm those that are used for the first time."""
        holders = await self._grants.access(digests)
        first_uses = [(holder.grant.id, holder.generation) for holder in holders.values() if _is_first_use(holder)]
        if first_uses:
            with suppress(DatabaseUnavailable):  # the grace period of the previous refresh token is then longer
                await self._grants.confirm(first_uses)
        return holders

    async def _token_of(self, holder: AccessHolder) -> KnownToken | None:
        directory_generation, read_at = self._callers.directory_generation(), self._clock()
        caller = await self._callers.of(holder)
        if caller is None:
            return None
        return KnownToken(holder.grant.id, caller, read_at + holder.expires_at - holder.read_at, directory_generation)

    async def _follow(self) -> None:
        """Read the version of grants, and drop all cached tokens if it has changed."""
        read_began_at = self._clock()
        version = await self._grants.version()
        self._confirmed_at = read_began_at
        if version != self._version:
            self._clear_count += 1
            self._tokens.clear()
            self._unknown.clear()
            for reason in await self._grants.take_uncounted():
                self._telemetry.grant_ended(reason)
            self._version = version

    async def _record_use(self) -> None:
        if used := self._used:
            self._used = set()
            await self._grants.note_used(used, self._clocks.wall() // 60 * 60)


def _is_first_use(holder: AccessHolder) -> bool:
    return holder.generation == holder.grant.generation and holder.grant.confirmed_at is None
