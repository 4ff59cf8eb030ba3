"""The team of a person on the account page, and the credential of a personal team."""

from dataclasses import dataclass

from app.domain.sign_in import Person
from app.domain.team_input import MAX_SECRET_LENGTH, is_credential
from app.domain.teams import Actor, Membership
from app.ports.auth import AccessRefused, AuthenticationUnavailable
from app.ports.directory import NotAllowed, TeamCredentials
from app.ports.sealing import SecretMaker
from app.ports.sign_in import PersonVault
from app.services.teams.departures import TeamDepartures
from app.services.teams.memberships import Memberships, NoTeam
from app.services.teams.people import directory_person

NO_TEAM = (
    "You belong to no team of this service any more, so your apps can do nothing. Sign out here and sign in again. If "
    "that does not help, ask the operator of this service to invite you."
)
NOT_PERSONAL = "The credential of your team is put in by its administrators. Nothing was changed."
OWN_TEAM = "This team is yours alone. The operator of this service can delete it. Nothing was changed."
NAMED_TEAM = (
    "Your login names this team, so you would be a member again at once. Ask those who run the login, or the operator "
    "of this service, to take you out of it. Nothing was changed."
)
NO_CREDENTIAL = (
    f"A token is 1 to {MAX_SECRET_LENGTH} ASCII characters without blanks. Copy it whole, and nothing else. Nothing "
    "was changed."
)


@dataclass(frozen=True, slots=True)
class PersonTeamView:
    """The team that a person acts for, as the account page shows it.

    Attributes:
        team: the name of the team; None for a person without a team.
        problem: a sentence for a person without a team; None otherwise.
        is_personal: whether this is the person's own team, whose credential the person puts in.
        is_joined: whether the person has joined the team by an invitation, and so may leave it.
        hints: the last characters of each credential in use at the backend; empty for a team that is not personal.

    """

    team: str | None
    problem: str | None = None
    is_personal: bool = False
    is_joined: bool = False
    hints: tuple[str, ...] = ()


class PersonAccount:
    """The teams of people who are signed in. Every method raises DatabaseUnavailable."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a person may see and change of a team
        self,
        vault: PersonVault,
        memberships: Memberships,
        credentials: TeamCredentials,
        secrets: SecretMaker,
        departures: TeamDepartures,
        backend: str,
    ) -> None:
        """Show memberships. `secrets` seals credentials for `backend`, which are kept in `credentials`."""
        self._vault = vault
        self._memberships = memberships
        self._credentials = credentials
        self._secrets = secrets
        self._departures = departures
        self._backend = backend

    async def view(self, person: Person) -> PersonTeamView:
        """Return the team that a person acts for, as the database has it now."""
        try:
            membership = await self._membership(person)
        except NoTeam:
            return PersonTeamView(None, problem=NO_TEAM)
        except (AccessRefused, AuthenticationUnavailable) as exc:
            return PersonTeamView(None, problem=str(exc))
        if not membership.is_personal:
            return PersonTeamView(membership.team.name, is_joined=membership.is_joined)
        in_use = await self._credentials.of_team(membership.team.id)
        hints = tuple(credential.hint for credential in in_use if credential.backend == self._backend)
        return PersonTeamView(membership.team.name, is_personal=True, hints=hints)

    async def replace_credential(self, person: Person, secret: str) -> None:
        """Put a credential into a person's own team, and take the earlier ones out of use.

        Raises NotAllowed with a sentence for the person, and OtherSecretKey.
        """
        if not is_credential(secret):
            raise NotAllowed(NO_CREDENTIAL)
        membership = await self._required_membership(person)
        if not membership.is_personal:
            raise NotAllowed(NOT_PERSONAL)
        sealed = await self._secrets.sealed(membership.team, self._backend, secret)
        await self._credentials.replace_all(sealed, Actor(f"person:{person.id}"))

    async def leave(self, person: Person) -> None:
        """End a person's membership with its keys, and disconnect their apps.

        Raises AdministrationRefused with a sentence for the person, such as for a personal team and for a team that a
        claim names, and OtherSecretKey.
        """
        membership = await self._required_membership(person)
        if membership.is_personal:
            raise NotAllowed(OWN_TEAM)
        if not membership.is_joined:
            raise NotAllowed(NAMED_TEAM)
        await self._departures.leave(person, membership)

    async def _required_membership(self, person: Person) -> Membership:
        """Return the membership of a person. Raises NotAllowed if there is none or it cannot be read now."""
        try:
            return await self._membership(person)
        except (AccessRefused, AuthenticationUnavailable) as exc:
            raise NotAllowed(str(exc)) from None

    async def _membership(self, person: Person) -> Membership:
        if (secrets := self._vault.open(person)) is None:
            raise AccessRefused("Your login cannot be read any more. Sign in again.")
        return await self._memberships.read(directory_person(person.issuer, person.subject, secrets))
