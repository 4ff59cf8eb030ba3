"""Maps people of an identity provider to members of teams, and adds the member at the first call."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from app.domain.teams import Actor, Membership, Person
from app.ports.auth import AccessRefused, AuthenticationUnavailable
from app.ports.directory import Teams
from app.services.teams.directory_cache import DirectoryCache

MOST_MEMBERSHIPS = 5_000
"""Size of the cache of people, about 1 KB an entry."""

NOT_YET = "Tokens cannot be checked yet, because this service's database does not answer. Try again shortly."
NO_TEAM = (
    "Your token is valid, but it names no team of this service. Nothing was done. Ask the operator of this service to "
    "make the team, or to have the identity provider name one that exists."
)
SEVERAL_TEAMS = (
    "Your token is valid, but it names several teams of this service, and a call belongs to one. Nothing was done. Ask "
    "the operator of this service to have the identity provider name one of them only."
)

MemberId = Callable[[str], str]
"""Returns the keyed hash of a text, with a secret of the database as the key: at least 32 hex digits."""


@dataclass(frozen=True, slots=True)
class _CachedMembership:
    """The membership of a person, or the sentence that refuses the person.

    Attributes:
        generation: generation of the directory before the read. The entry is outdated if it has changed.

    """

    generation: int
    membership: Membership | str


class Memberships:
    """A cache of memberships. Each is looked up once until the directory changes."""

    def __init__(self, cache: DirectoryCache, teams: Teams, digest: Callable[[], MemberId | None]) -> None:
        """Look up in `teams`, within the limits of `cache`. `digest` returns None until the database has been read."""
        self._cache = cache
        self._teams = teams
        self._digest = digest
        self._cached: LRUCache[bytes, _CachedMembership] = LRUCache(MOST_MEMBERSHIPS)

    @property
    def generation(self) -> int:
        """A number that increases when memberships may have changed."""
        return self._cache.generation

    def check(self) -> None:
        """Raise AuthenticationUnavailable if the directory was not confirmed for too long."""
        self._cache.check()

    async def find_or_join(self, person: Person) -> Membership:
        """Return the membership of `person`, who is added to the team at the first call.

        Raises AccessRefused unless the person names exactly one existing team, and AuthenticationUnavailable.
        """
        self.check()
        key = hashlib.sha256(repr(person).encode()).digest()  # shorter than a person with many teams
        if (found := self._current(key)) is None:
            found = await self._cache.run_lookup(lambda: self._look_up(key, person))
        if isinstance(found.membership, str):
            raise AccessRefused(found.membership)
        return found.membership

    def _current(self, key: bytes) -> _CachedMembership | None:
        found = self._cached.get(key)
        return found if found is not None and found.generation == self._cache.generation else None

    async def _look_up(self, key: bytes, person: Person) -> _CachedMembership:
        """Read and cache the membership, unless another call has done so meanwhile."""
        if (found := self._current(key)) is None:
            generation = self._cache.generation
            found = self._cached[key] = _CachedMembership(generation, await self._read(person))
        return found

    async def _read(self, person: Person) -> Membership | str:
        if (digest := self._digest()) is None:
            raise AuthenticationUnavailable(NOT_YET)
        teams = await self._teams.named(person.teams) if person.teams else []
        if len(teams) != 1:
            return SEVERAL_TEAMS if teams else NO_TEAM
        [team] = teams
        # The hashed text is unambiguous, because only the subject may contain blanks.
        member_id = digest(f"member {team.id} {person.issuer} {person.subject}")[:32]
        member = await self._teams.member(team.id, member_id)
        if member is None:
            member = await self._teams.join(team, member_id, person.name, Actor(f"issuer:{person.issuer}"[:200]))
        return Membership(member, team, await self._teams.window_limits(team.id, member.id))
