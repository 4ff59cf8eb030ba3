"""Members leave teams or are removed from them, and personal teams are deleted.

Every method raises AdministrationRefused, OtherSecretKey and DatabaseUnavailable.
"""

from collections.abc import AsyncIterator, Sequence

from app.domain.sign_in import Person as SignedInPerson
from app.domain.teams import Actor, Member, Membership, Person, Team
from app.ports.directory import Directory, NotThere
from app.ports.people import Departed, Departure
from app.ports.sealing import SecretMaker
from app.ports.sign_in import PersonVault
from app.ports.sign_in_store import People
from app.services.teams.people import newcomer_of

PAGE_SIZE = 500
"""Number of people that one SQL statement reads."""


class TeamDepartures:
    """Ends memberships, together with the keys of the member and the grants of the person."""

    def __init__(self, directory: Directory, people: People, vault: PersonVault, secrets: SecretMaker) -> None:
        """Change `directory`. `people` are those who have signed in; `vault` unseals the secrets of their logins."""
        self._directory = directory
        self._people = people
        self._vault = vault
        self._secrets = secrets

    async def remove(self, team: str, name: str, actor: Actor) -> Departed:
        """Remove the member with this name."""
        member_team, member = await self._directory.teams.team(team), await self._member(team, name)
        departure = Departure(member.id, await self._person_behind(member, member_team))
        return await self._directory.departures.remove(team, departure, actor)

    async def leave(self, person: SignedInPerson, membership: Membership) -> Departed:
        """Let a person who is signed in leave the team that they act for."""
        departure = Departure(membership.member.id, person.id, is_own_wish=True)
        actor = Actor(f"person:{person.id}")
        return await self._directory.departures.remove(membership.team.name, departure, actor)

    async def delete_personal(self, team: str, actor: Actor) -> Team:
        """Delete a personal team."""
        [deleted] = await self._delete([await self._directory.teams.team(team)], actor)
        return deleted

    async def delete_unused(self, seconds: float, actor: Actor) -> list[Team]:
        """Delete the personal teams, made `seconds` ago or earlier, that have no credential and have bought nothing."""
        return await self._delete(await self._directory.departures.unused_personal(seconds), actor)

    async def _member(self, team: str, name: str) -> Member:
        for member in await self._directory.teams.members(team):
            if member.name == name:
                return member
        raise NotThere(f"Team {team} has no member {name}. Look at the list of its members.")

    async def _delete(self, teams: Sequence[Team], actor: Actor) -> list[Team]:
        """Delete personal teams, and return them."""
        departures = self._directory.departures
        bound_ids = {team.id: await departures.bound_people(team.id) for team in teams}
        all_bound_ids, hash_of = frozenset[str]().union(*bound_ids.values()), await self._secrets.member_hash()
        sign_in_ids: dict[str, str] = {}  # of the people who act for one of the teams, by their id in the directory
        async for person in self._everybody():
            person_id = newcomer_of(_person_for_ids(person), hash_of).person_id
            if person_id in all_bound_ids and await self._named_team(person) is None:
                sign_in_ids[person_id] = person.id
        return [
            await departures.delete_personal(
                team.name, [sign_in_ids[bound_id] for bound_id in bound_ids[team.id] if bound_id in sign_in_ids], actor
            )
            for team in teams
        ]

    async def _person_behind(self, member: Member, team: Team) -> str | None:
        """Return the sign-in id of the person who is `member`; None if there is none or they act for another team.

        The id of a member is a keyed hash that leads to no person, so everybody who has signed in is looked at.
        """
        hash_of = await self._secrets.member_hash()
        async for person in self._everybody():
            newcomer = newcomer_of(_person_for_ids(person), hash_of)
            if newcomer.member_id(team.id) != member.id:
                continue
            named_team = await self._named_team(person)
            bound = await self._directory.people.find(newcomer.person_id) if named_team is None else None
            own_team = bound.team if bound is not None else named_team
            return person.id if own_team is not None and own_team.id == team.id else None
        return None

    async def _named_team(self, person: SignedInPerson) -> Team | None:
        """Return the team that the login of a person has named. It has precedence over the person's other teams.

        Return None if the login has named no existing team or several, or if its secrets cannot be unsealed.
        """
        secrets = self._vault.open(person)
        names = secrets.teams if secrets is not None else None
        named_teams = await self._directory.teams.named(names) if names else []
        return named_teams[0] if len(named_teams) == 1 else None

    async def _everybody(self) -> AsyncIterator[SignedInPerson]:
        after = ""
        while page := await self._people.all_sealed(PAGE_SIZE, after):
            for person in page:
                yield person
            after = page[-1].id


def _person_for_ids(person: SignedInPerson) -> Person:
    """Return the directory's Person, with only the fields that ids are made of."""
    return Person(person.issuer, person.subject, name="", teams=())
