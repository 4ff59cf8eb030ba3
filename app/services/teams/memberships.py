"""Finds the team and the member that a person of an identity provider is, and adds the member at the first call."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from app.domain.teams import Actor, Membership, Person
from app.ports.auth import AccessRefused, AuthenticationUnavailable
from app.ports.directory import Teams
from app.services.teams.directory_cache import DirectoryCache

MOST_MEMBERSHIPS = 5_000
"""Persons who are remembered, about 1 KB each."""

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
"""Returns what stands for a text in the database: 32 hex digits or more, by a secret of that database."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The membership of a person, or the sentence that refuses them, as the directory was at a generation."""

    generation: int
    membership: Membership | str


class Memberships:
    """Memberships of persons, each looked up once until the directory changes."""

    def __init__(self, cache: DirectoryCache, teams: Teams, digest: Callable[[], MemberId | None]) -> None:
        """Look up in `teams`, within the limits of `cache`. `digest` returns None until the database was read once."""
        self._cache = cache
        self._teams = teams
        self._digest = digest
        self._found: LRUCache[bytes, _Found] = LRUCache(MOST_MEMBERSHIPS)

    @property
    def generation(self) -> int:
        """A number that increases when memberships may have changed."""
        return self._cache.generation

    def check(self) -> None:
        """Raise AuthenticationUnavailable if what is known of the directory is too old to count."""
        self._cache.check()

    async def of(self, person: Person) -> Membership:
        """Return the membership of `person`. Raises AccessRefused and AuthenticationUnavailable."""
        self.check()
        key = hashlib.sha256(repr(person).encode()).digest()  # a person may be named with many teams
        if (found := self._current(key)) is None:
            found = await self._cache.looked_up(lambda: self._look_up(key, person))
        if isinstance(found.membership, str):
            raise AccessRefused(found.membership)
        return found.membership

    def _current(self, key: bytes) -> _Found | None:
        found = self._found.get(key)
        return found if found is not None and found.generation == self._cache.generation else None

    async def _look_up(self, key: bytes, person: Person) -> _Found:
        """Read the membership, unless another call has meanwhile. A change during the read outdates what was read."""
        if (found := self._current(key)) is None:
            generation = self._cache.generation
            found = self._found[key] = _Found(generation, await self._membership(person))
        return found

    async def _membership(self, person: Person) -> Membership | str:
        if (digest := self._digest()) is None:
            raise AuthenticationUnavailable(NOT_YET)
        teams = await self._teams.named(person.teams) if person.teams else []
        if len(teams) != 1:
            return SEVERAL_TEAMS if teams else NO_TEAM
        [team] = teams
        member_id = digest(f"member {team.id} {person.issuer} {person.subject}")[:32]  # only the last may hold blanks
        member = await self._teams.member(team.id, member_id)
        if member is None:
            member = await self._teams.join(team, member_id, person.name, Actor(f"issuer:{person.issuer}"[:200]))
        return Membership(member, team, await self._teams.window_limits(team.id, member.id))
