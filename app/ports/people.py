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
        person_id: 32 hex digits that stand for issuer and subject.
        name: a valid name of a member, for lists.
        member_id: returns the id of the person as a member of the team with an id.

    """

    person_id: str
    name: str
    member_id: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class PersonTeam:
    """The team that a person acts for where no claim names one. `is_personal` says that it was made for this person."""

    team: Team
    member: Member
    is_personal: bool


@dataclass(frozen=True, slots=True)
class Departure:
    """A member who is to leave a team.

    Attributes:
        member_id: the id of the member.
        person_id: the id in sign-in of the person whose grants end; None if the member has none that act for the team.
        is_own_wish: whether the person leaves. Their browsers then stay signed in.

    """

    member_id: str
    person_id: str | None
    is_own_wish: bool = False


@dataclass(frozen=True, slots=True)
class Departed:
    """A member as before the departure, with the numbers of keys and grants that have ended."""

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
        """Return the people who act for a personal team unless their claim names another: its own, and its guests.

        They are named by the `person_id` of their Newcomer.
        """
        ...

    async def unused_personal(self, seconds: float) -> list[Team]:
        """Return the personal teams, made `seconds` ago or earlier, that have no credential and have bought nothing.

        Stopped ones are left out.
        """
        ...


class Invitations(Protocol):
    """Invitations. A used, expired or ended one is as missing as one that never was."""

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
        """End an open invitation, into the team with the id `team_id` if given. Raises NotThere."""
        ...

    async def join(self, digest: str, newcomer: Newcomer, actor: Actor) -> Member:
        """Use an invitation up, and bind a person to its team in the place of an earlier one. Raises InvitationEnded.

        The person becomes a member unless they are one. Of two persons at once, one joins.
        """
        ...


class TooManyTeams(Exception):
    """There are as many personal teams as the operator allows, and none was made."""


class PersonTeams(Protocol):
    """The teams of people whose login names none."""

    async def find(self, person_id: str) -> PersonTeam | None:
        """Return the team that a person has joined by an invitation, else their personal team; None without both."""
        ...

    async def make_personal(self, newcomer: Newcomer, actor: Actor, maximum: int) -> PersonTeam:
        """Make a team for a person alone, with the person as its member. Return the one that is there, if there is.

        Raises TooManyTeams if there are `maximum` personal teams.
        """
        ...
