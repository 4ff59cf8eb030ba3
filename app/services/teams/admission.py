"""Admits people who have signed in: members of a team, those with an invitation, and those who get their own team."""

from app.domain.teams import Person
from app.ports.admission import JoinRefused
from app.ports.auth import AccessRefused, AuthenticationUnavailable
from app.ports.people import InvitationEnded, Invitations, PersonTeams
from app.ports.sign_in import LoginRefused, LoginUnavailable, SignedIn
from app.services.teams.memberships import Memberships, NoTeam, issuer_actor
from app.services.teams.people import directory_person

ENDED = (
    "This invitation cannot be used: it was used or ended before, it has expired, or its address was not copied whole. "
    "Ask the person who invited you for a new one."
)
NAMED = (
    "Your login says that you belong to the team {team}, which counts before an invitation. The invitation can "
    "still be used. Ask the operator of this service to change that, or sign in with another account."
)


class TeamAdmission:
    """The Admission to teams."""

    def __init__(
        self, memberships: Memberships, people: PersonTeams, invitations: Invitations, *, makes_personal: bool
    ) -> None:
        """Admit whoever has a membership. If `makes_personal`, a person without a team gets one of their own."""
        self._memberships = memberships
        self._people = people
        self._invitations = invitations
        self._makes_personal = makes_personal

    async def admit(self, signed_in: SignedIn, invitation: str | None) -> None:
        """Return if the person acts for a team. `invitation` is the digest of an invitation's code.

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
            if not self._makes_personal:
                raise
            await self._people.make_personal(self._memberships.newcomer(person), issuer_actor(person))

    async def _join(self, person: Person, invitation: str) -> None:
        """Use an invitation, unless it would have no effect."""
        if (team := await self._memberships.find_named_team(person)) is not None:
            raise JoinRefused(NAMED.format(team=team.name))
        try:
            await self._invitations.join(invitation, self._memberships.newcomer(person), issuer_actor(person))
        except InvitationEnded:
            raise JoinRefused(ENDED) from None
