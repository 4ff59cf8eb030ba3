"""The teams of people who sign in: invitations, the teams that people have joined with them, and personal teams.

Every method raises DatabaseUnavailable, and may be repeated. Each change is one transaction with its rows of the audit
log and the next version of the directory.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.invitations import Invitation
from app.domain.teams import Actor, Member, Team


class InvitationEnded(Exception):
    """The invitation was used, has expired or was ended, or there never was one."""


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation before it is recorded; `digest` stands for its code in the database."""

    id: str
    digest: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A person who becomes a member of a team.

    Attributes:
        person_id: keyed hash of issuer and subject, 32 hex digits.
        name: a valid name of a member, for lists.
        member_id: takes the id of a team, and returns the id that the person has as its member.

    """

    person_id: str
    name: str
    member_id: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class PersonTeam:
    """The team that a person acts for if no claim of the login names a team.

    Attributes:
        is_personal: whether the team was made for this person.

    """

    team: Team
    member: Member
    is_personal: bool


@dataclass(frozen=True, slots=True)
class Departure:
    """A member who is to leave a team.

    Attributes:
        member_id: the id of the member.
        person_id: the id in sign-in of the person whose grants end; None if the member has no grants for the team.
        is_own_wish: whether the person leaves of their own accord. Their browsers then stay signed in.

    """

    member_id: str
    person_id: str | None
    is_own_wish: bool = False


@dataclass(frozen=True, slots=True)
class Departed:
    """A member as it was before the departure.

    Attributes:
        keys: number of keys that the departure has ended.
        grants: number of grants that the departure has ended.

    """

    member: Member
    keys: int
    grants: int


class Departures(Protocol):
    """Ends memberships, and deletes personal teams. Spending and the audit log are kept."""

    async def remove(self, team: str, departure: Departure, actor: Actor) -> Departed:
        """End a membership with its keys, and the grants of its person.

        Raises NotThere, and NotAllowed for the person whom a personal team was made for.
        """
        ...

    async def delete_personal(self, team: str, person_ids: Collection[str], actor: Actor) -> Team:
        """Delete a personal team with its members, keys and credentials, and end the grants of these people.

        Raises NotThere, and NotAllowed for any other team.
        """
        ...

    async def bound_people(self, team_id: str) -> list[str]:
        """Return the ids of the people who act for a personal team unless a claim of their login names another team.

        These are the person for whom the team was made, and those who have joined it. The ids are `Newcomer.person_id`.
        """
        ...

    async def unused_personal(self, seconds: float) -> list[Team]:
        """Return the personal teams, made `seconds` ago or earlier, that have no credential and have bought nothing.

        Stopped teams are left out.
        """
        ...


class Invitations(Protocol):
    """Invitations. A used, expired or ended invitation is treated as if it did not exist."""

    async def create(
        self, team: str, new: NewInvitation, actor: Actor, *, expires_seconds: float, note: str = ""
    ) -> Invitation:
        """Record an invitation into the team of this name. Raises NotThere."""
        ...

    async def of_team(self, team: str) -> list[Invitation]:
        """Return the open invitations into the team of this name, oldest first. Raises NotThere."""
        ...

    async def find(self, digest: str) -> Invitation | None:
        """Return the open invitation with this digest; None if there is none."""
        ...

    async def end(self, invitation_id: str, actor: Actor, *, team_id: str | None = None) -> Invitation:
        """End an open invitation. If `team_id` is given, it must be an invitation into this team. Raises NotThere."""
        ...

    async def join(self, digest: str, newcomer: Newcomer, actor: Actor) -> Member:
        """Use an invitation up, and bind a person to the team that it names. Raises InvitationEnded.

        The person becomes a member unless they are one, and is no longer bound to an earlier team. If two people use
        the invitation at once, one of them joins.
        """
        ...


class TooManyTeams(Exception):
    """There are as many personal teams as the operator allows, so no other was made."""


class PersonTeams(Protocol):
    """The teams of people whose login names no team."""

    async def find(self, person_id: str) -> PersonTeam | None:
        """Return the team that a person has joined by an invitation, else their personal team, else None."""
        ...

    async def make_personal(self, newcomer: Newcomer, actor: Actor, maximum: int) -> PersonTeam:
        """Return the person's personal team. If it is missing, create it, with the person as its member.

        Raises TooManyTeams if it is missing and there are `maximum` personal teams.
        """
        ...
