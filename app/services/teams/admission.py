"""Admits people who have signed in: members of a team, those with an invitation, and those who get their own team."""

from collections.abc import Callable

from app.domain.teams import Person, Team
from app.ports.admission import JoinRefused
from app.ports.auth import AccessRefused, AuthenticationUnavailable
from app.ports.people import InvitationEnded, Invitations, PersonTeams, TooManyTeams
from app.ports.sign_in import LoginRefused, LoginUnavailable, SignedIn
from app.services.teams.memberships import Memberships, NoTeam, issuer_actor
from app.services.teams.people import directory_person

ENDED = (
    "This invitation cannot be used: it was used or ended before, it has expired, or its address was not copied whole. "
    "Ask the person who invited you for a new one."
)
FULL = (
    "This service has as many teams of people's own as its operator allows, so none was made for you. Nothing was "
    "done. Ask the operator for an invitation into a team, or try again another day."
)
NAMED = (
    "Your login says that you belong to the team {team}, which counts before an invitation. The invitation can "
    "still be used. Ask the operator of this service to change that, or sign in with another account."
)


class TeamAdmission:
    """Implements the port Admission: admits people as members of teams."""

    def __init__(
        self,
        memberships: Memberships,
        people: PersonTeams,
        invitations: Invitations,
        *,
        max_personal: int,
        on_full: Callable[[], None],
    ) -> None:
        """Admit a person who has a membership. A person without one gets a personal team, up to `max_personal` in all.

        `on_full` is called for each person who gets no team because the limit is reached; not if `max_personal` is 0.
        """
        self._memberships = memberships
        self._people = people
        self._invitations = invitations
        self._max_personal = max_personal
        self._on_full = on_full

    async def admit(self, signed_in: SignedIn, invitation: str | None) -> None:
        """Find, join or make a person's team. `invitation` is the digest of an invitation's code; None without one.

        Raises LoginRefused, LoginUnavailable, JoinRefused and DatabaseUnavailable.
        """
        person = directory_person(signed_in.issuer, signed_in.subject, signed_in.secrets)
        try:
            if invitation is None:
                await self._enter(person)
            else:
                await self._join(person, invitation)
        except AccessRefused as exc:
            raise LoginRefused(str(exc)) from None
        except AuthenticationUnavailable as exc:
            raise LoginUnavailable(str(exc)) from None

    async def _enter(self, person: Person) -> None:
        try:
            await self._memberships.read(person)
        except NoTeam:
            if not self._max_personal:
                raise
            await self._make_personal(person)

    async def _make_personal(self, person: Person) -> None:
        newcomer = self._memberships.newcomer(person)
        try:
            await self._people.make_personal(newcomer, issuer_actor(person), self._max_personal)
        except TooManyTeams:
            self._on_full()
            raise LoginRefused(FULL) from None

    async def _join(self, person: Person, invitation: str) -> None:
        """Use an invitation. Raises JoinRefused if it has ended, or would have no effect because a claim names a team.

        One exception: a person who was removed from the team that a claim names may return by an invitation into it.
        """
        team = await self._memberships.find_named_team(person)
        if team is not None and not await self._leads_back(person, team, invitation):
            raise JoinRefused(NAMED.format(team=team.name))
        try:
            await self._invitations.join(invitation, self._memberships.newcomer(person), issuer_actor(person))
        except InvitationEnded:
            raise JoinRefused(ENDED) from None

    async def _leads_back(self, person: Person, team: Team, invitation: str) -> bool:
        """Return whether an invitation is into `team`, from which the person was removed."""
        if not await self._memberships.is_former(person, team):
            return False
        open_invitation = await self._invitations.find(invitation)
        return open_invitation is not None and open_invitation.team.id == team.id
