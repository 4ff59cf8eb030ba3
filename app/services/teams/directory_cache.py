"""Caches the directory of teams until it changes, so that calls with known keys do not wait for the database."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cachetools import LRUCache

from app.domain.access import Credential
from app.domain.teams import KeyHolder, KeyState, TeamCredential
from app.ports.auth import AuthenticationUnavailable, Caller
from app.ports.directory import Directory
from app.ports.repositories import DatabaseUnavailable
from app.services.batched_lookups import TOO_MANY_LOOKUPS, BatchedLookups
from app.services.version_follower import CacheClocks, FollowedCache, follow_version

MAX_KEYS = 10_000
"""Sizes of the caches of known keys, about 1.5 KB an entry, and of digests of unknown keys."""

MAX_TEAMS = 1_000
"""Size of the cache of teams' credentials."""

MAX_LOOKUPS = 2
MAX_WAITING = 200
"""Limits of look-ups through `run_lookup`: concurrent ones, and all including those that wait."""

REFRESH_BATCH = 500
"""Number of known keys that one query reads again after a change."""

OUTAGE_SECONDS = 60.0
"""Time for which known keys are accepted while the version cannot be read. A database failover takes less."""

NO_DATABASE = "Tokens cannot be checked right now, because this service's database does not answer. Try again shortly."

T = TypeVar("T")

OUTAGE = (
    "The directory of teams cannot be read (the database %s, %d times since the last such line): "
    "changes of teams and keys take effect when it can. Known keys can read for a minute, "
    "unknown ones get 503"
)
FAULT = "The directory of teams could not be read, so changes of teams and keys do not take effect"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class KnownKey:
    """A key that exists, with its holder.

    Attributes:
        read_at: the monotonic time at which the holder was read. `holder.read_at` is that time by the database's clock.
        caller: the Caller for this key. The authenticator sets it at the first use; None before.
        noted_at: the monotonic time of the last use that was passed to `note_use`. The caller of `note_use` sets it.

    """

    holder: KeyHolder
    read_at: float
    caller: Caller | None = None
    noted_at: float = -math.inf

    def state(self, now: float) -> KeyState:
        """Return the state of the key at the monotonic time `now`."""
        return self.holder.key.state(self.holder.read_at + now - self.read_at)


class DirectoryCache:
    """A cache of the holders of team keys, and of the credentials of teams.

    When the version of the directory changes, known keys are read again and all other entries are dropped. Known keys
    are found without a look-up, so they do not wait behind made-up ones. In an outage of the database, cached entries
    are used for OUTAGE_SECONDS.
    """

    def __init__(
        self,
        directory: Directory,
        decrypt: Callable[[TeamCredential], Credential | None],
        backend: str,
        clocks: CacheClocks,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Cache `directory`. `decrypt` decrypts a credential for `backend`; it returns None if that is not possible.

        `on_refusal` is called for each look-up that is refused because too many wait.
        """
        self._on_refusal = on_refusal
        self._directory = directory
        self._decrypt = decrypt
        self._backend = backend
        self._clock = clocks.monotonic
        self._clocks = clocks
        self._version: int | None = None
        self._confirmed_at = clocks.monotonic()
        self._generation = 0
        self._keys: LRUCache[str, KnownKey] = LRUCache(MAX_KEYS)
        self._unknown: LRUCache[str, None] = LRUCache(MAX_KEYS)
        self._credentials: LRUCache[str, tuple[Credential, ...]] = LRUCache(MAX_TEAMS)
        self._lookups = BatchedLookups(self._look_up, on_refusal)
        self._lookup_limit = asyncio.Semaphore(MAX_LOOKUPS)
        self._waiting = 0
        self._used: set[str] = set()

    async def run(self) -> None:
        """Follow the version of the directory, and record which keys were used. Runs until it is cancelled."""
        await follow_version(FollowedCache(self._follow, self._record_use, OUTAGE, FAULT), self._clocks, log)

    @property
    def confirmed_at(self) -> float:
        """The monotonic time at which the last successful read of the version began."""
        return self._confirmed_at

    @property
    def generation(self) -> int:
        """A number that increases when the directory has changed. Data read under a lower number is outdated."""
        return self._generation

    def check(self) -> None:
        """Raise AuthenticationUnavailable if the cache was not confirmed for OUTAGE_SECONDS."""
        if self._clock() - self._confirmed_at > OUTAGE_SECONDS:
            raise AuthenticationUnavailable(NO_DATABASE)

    def known(self, digest: str) -> KnownKey | None:
        """Return the cached key with this digest; None if it is not cached. Raises AuthenticationUnavailable."""
        self.check()
        return self._keys.get(digest)

    async def key(self, digest: str) -> KnownKey | None:
        """Return the key with this digest; None if there is none. Raises AuthenticationUnavailable."""
        if (known := self.known(digest)) is not None:
            return known
        if digest in self._unknown:
            return None
        try:
            return await self._lookups.find(digest)
        except DatabaseUnavailable:
            raise AuthenticationUnavailable(NO_DATABASE) from None

    def note_use(self, known: KnownKey) -> None:
        """Remember that the key was used. The database is updated once a minute."""
        self._used.add(known.holder.key.id)

    async def credentials(self, team_id: str) -> tuple[Credential, ...]:
        """Return the team's credentials for the backend; empty if it has none. Raises DatabaseUnavailable."""
        cached = self._credentials.get(team_id)
        if cached is not None:
            return cached
        generation = self._generation
        sealed = await self._directory.credentials.of_team(team_id)
        decrypted = (self._decrypt(credential) for credential in sealed if credential.backend == self._backend)
        usable = tuple(credential for credential in decrypted if credential is not None)
        if generation == self._generation:
            self._credentials[team_id] = usable
        return usable

    async def run_lookup(self, lookup: Callable[[], Awaitable[T]]) -> T:
        """Run `lookup`, which reads the database, within the concurrency limit. Raises AuthenticationUnavailable."""
        if self._waiting >= MAX_WAITING:
            self._on_refusal()
            raise AuthenticationUnavailable(TOO_MANY_LOOKUPS)
        self._waiting += 1
        try:
            async with self._lookup_limit:
                return await lookup()
        except DatabaseUnavailable:
            raise AuthenticationUnavailable(NO_DATABASE) from None
        finally:
            self._waiting -= 1

    async def _look_up(self, digests: Sequence[str]) -> dict[str, KnownKey]:
        """Read keys, and cache the results unless the directory has changed during the read."""
        generation = self._generation
        holders = await self._directory.keys.key_holders(digests)
        now = self._clock()
        keys = {digest: KnownKey(holder, now) for digest, holder in holders.items()}
        if generation == self._generation:
            self._keys.update(keys)
            self._unknown.update(dict.fromkeys(digest for digest in digests if digest not in keys))
        return keys

    async def _follow(self) -> None:
        """Read the version. If it has changed, read the known keys again. During that read, their old state is used."""
        read_began_at = self._clock()
        version = await self._directory.facts.version()
        if version != self._version:
            self._generation += 1
            self._unknown.clear()
            self._credentials.clear()
            await self._refresh(list(self._keys))
        self._version = version
        self._confirmed_at = read_began_at

    async def _refresh(self, digests: Sequence[str]) -> None:
        for start in range(0, len(digests), REFRESH_BATCH):
            batch = digests[start : start + REFRESH_BATCH]
            holders = await self._directory.keys.key_holders(batch)
            now = self._clock()
            for digest in batch:
                before = self._keys.pop(digest, None)
                if before is not None and (holder := holders.get(digest)) is not None:
                    self._keys[digest] = KnownKey(holder, now, noted_at=before.noted_at)

    async def _record_use(self) -> None:
        if used := self._used:
            self._used = set()
            await self._directory.keys.note_used(used, self._clocks.wall() // 60 * 60)
