"""Maps people of an identity provider to members of teams, and adds the member at the first call."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from app.domain.teams import Actor, Member, Membership, Person, Team
from app.ports.auth import AccessRefused, AuthenticationUnavailable
from app.ports.directory import Teams
from app.ports.people import Newcomer, PersonTeams
from app.services.teams.directory_cache import DirectoryCache
from app.services.teams.people import MemberHash, newcomer_of

MAX_MEMBERSHIPS = 5_000
"""Size of the cache of people, about 1 KB an entry."""

TOKENS_UNREADABLE = "Tokens cannot be checked yet, because this service's database does not answer. Try again shortly."
NO_TEAM = (
    "Your token is valid, but it names no team of this service. Nothing was done. Ask the operator of this service to "
    "make the team, to have the identity provider name one that exists, or to invite you."
)
NO_TEAM_YET = (
    "Your token is valid, but you have no team of this service yet. Nothing was done. Sign in once at {account_url}, "
    "which makes one for you."
)
SEVERAL_TEAMS = (
    "Your token is valid, but it names several teams of this service, and a call belongs to one. Nothing was done. Ask "
    "the operator of this service to have the identity provider name one of them only."
)
REMOVED = (
    "You were removed from the team {team}, which your login names. Nothing was done. Ask the administrators of the "
    "team for an invitation, or the operator of this service to have the identity provider name another team."
)


class NoTeam(AccessRefused):
    """A person has no team: no claim names one, they have joined none, and none was made for them."""


@dataclass(frozen=True, slots=True)
class _CachedMembership:
    """The result of a look-up of a person.

    Attributes:
        membership_or_refusal: the membership, or the sentence that refuses the person.
        generation: generation of the directory before the read. The entry is outdated if the directory has a newer one.

    """

    generation: int
    membership_or_refusal: Membership | str


class Memberships:
    """A cache of memberships. Each is looked up once until the directory changes."""

    def __init__(
        self,
        cache: DirectoryCache,
        teams: Teams,
        people: PersonTeams,
        member_hash: Callable[[], MemberHash | None],
        no_team: str = NO_TEAM,
    ) -> None:
        """Look up in `teams` and `people`, within the limits of `cache`.

        `member_hash` returns the hash that makes ids of members; None until the database has been read. `no_team` is
        the sentence for a person without a team.
        """
        self._cache = cache
        self._teams = teams
        self._people = people
        self._member_hash = member_hash
        self._no_team = no_team
        self._cached: LRUCache[bytes, _CachedMembership] = LRUCache(MAX_MEMBERSHIPS)

    @property
    def generation(self) -> int:
        """A number that increases when memberships may have changed."""
        return self._cache.generation

    def check(self) -> None:
        """Raise AuthenticationUnavailable if the directory was not confirmed for too long."""
        self._cache.check()

    async def find_or_join(self, person: Person) -> Membership:
        """Return the membership of `person`, who is added to the team at the first call.

        Raises AccessRefused if the person has no team, was removed from the one that a claim names, or if claims name
        several and the person has joined none. Also raises AuthenticationUnavailable.
        """
        self.check()
        key = hashlib.sha256(repr(person).encode()).digest()  # shorter than a person with many teams
        if (cached := self._current(key)) is None:
            cached = await self._cache.run_lookup(lambda: self._look_up(key, person))
        if isinstance(cached.membership_or_refusal, str):
            raise AccessRefused(cached.membership_or_refusal)
        return cached.membership_or_refusal

    async def read(self, person: Person) -> Membership:
        """Return the membership of `person` as it is in the database now, without the cache.

        Raises NoTeam, AccessRefused and AuthenticationUnavailable.
        """
        self.check()
        membership = await self._cache.run_lookup(lambda: self._read(person))
        if isinstance(membership, str):
            raise NoTeam(membership) if membership == self._no_team else AccessRefused(membership)
        return membership

    async def find_named_team(self, person: Person) -> Team | None:
        """Return the team that a claim names, which has precedence; None if claims name no existing team or several.

        Raises AuthenticationUnavailable.
        """
        teams = await self._cache.run_lookup(lambda: self._find_named(person))
        return teams[0] if len(teams) == 1 else None

    async def is_former(self, person: Person, team: Team) -> bool:
        """Return whether `person` was removed from `team`. Raises AuthenticationUnavailable."""
        member_id = self.newcomer(person).member_id(team.id)
        member = await self._cache.run_lookup(lambda: self._teams.member(team.id, member_id))
        return member is not None and member.removed_at is not None

    def newcomer(self, person: Person) -> Newcomer:
        """Return the ids and the name that `person` has as a member. Raises AuthenticationUnavailable."""
        if (member_hash := self._member_hash()) is None:
            raise AuthenticationUnavailable(TOKENS_UNREADABLE)
        return newcomer_of(person, member_hash)

    def _current(self, key: bytes) -> _CachedMembership | None:
        cached = self._cached.get(key)
        return cached if cached is not None and cached.generation == self._cache.generation else None

    async def _look_up(self, key: bytes, person: Person) -> _CachedMembership:
        """Read and cache the membership, unless another call has done so meanwhile."""
        if (cached := self._current(key)) is None:
            generation = self._cache.generation
            cached = self._cached[key] = _CachedMembership(generation, await self._read(person))
        return cached

    async def _read(self, person: Person) -> Membership | str:
        """Read the membership: in the team that a claim names, else in a joined team, else in a personal team.

        If there is no membership, return the sentence that refuses the person.
        """
        newcomer = self.newcomer(person)
        named_teams = await self._find_named(person)
        if len(named_teams) == 1:
            member = await self._find_or_add_member(named_teams[0], newcomer, person)
            if member.removed_at is not None:
                return REMOVED.format(team=named_teams[0].name)
            return await self._with_limits(member, named_teams[0])
        bound = await self._people.find(newcomer.person_id)
        if bound is None or (named_teams and bound.is_personal):
            return SEVERAL_TEAMS if named_teams else self._no_team
        return await self._with_limits(
            bound.member, bound.team, is_personal=bound.is_personal, is_joined=not bound.is_personal
        )

    async def _find_named(self, person: Person) -> list[Team]:
        return await self._teams.named(person.teams) if person.teams else []

    async def _find_or_add_member(self, team: Team, newcomer: Newcomer, person: Person) -> Member:
        member_id = newcomer.member_id(team.id)
        if (member := await self._teams.member(team.id, member_id)) is not None:
            return member
        return await self._teams.join(team, member_id, person.name, issuer_actor(person))

    async def _with_limits(
        self, member: Member, team: Team, *, is_personal: bool = False, is_joined: bool = False
    ) -> Membership:
        limits = await self._teams.window_limits(team.id, member.id)
        return Membership(member, team, limits, is_personal, is_joined)


def issuer_actor(person: Person) -> Actor:
    """Return the actor in the audit log for changes that the login of `person` has caused."""
    return Actor(f"issuer:{person.issuer}"[:200])
