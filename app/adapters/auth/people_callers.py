"""The callers of access tokens: people who are tenants alone, and members of teams."""

from collections.abc import Callable
from dataclasses import dataclass

from app.adapters.auth.passthrough import GivenCredential
from app.domain.access import Credential, Principal
from app.domain.sign_in import PersonSecrets
from app.domain.teams import Person as TeamPerson
from app.domain.teams import principal_of, valid_name
from app.ports.auth import AccessRefused, AuthenticationUnavailable, Caller, CredentialSource
from app.ports.sign_in import LoginRefused, LoginUnavailable, PersonVault, SignedIn
from app.ports.sign_in_store import AccessHolder
from app.services.teams.memberships import Memberships


class LonePeople:
    """Each person is a tenant of their own, with a credential of their own."""

    def __init__(self, vault: PersonVault, name: Callable[[str], str]) -> None:
        """Open credentials with `vault`. `name` makes the name that limits know a credential by."""
        self._vault = vault
        self._name = name

    def directory_generation(self) -> int:
        """Return 0, because these callers do not depend on a directory of teams."""
        return 0

    async def of(self, holder: AccessHolder) -> Caller | None:
        """Return the caller; None where the credential cannot be opened."""
        known = self._vault.open(holder.person)
        if known is None or known.credential is None:
            return None
        credential = Credential(self._name(known.credential), known.credential)
        principal = Principal(holder.person.id, scopes=holder.scopes)
        return Caller(principal, GivenCredential(credential), can_ask_for_scopes=True)


@dataclass(frozen=True, slots=True)
class TeamPeople:
    """People are members of teams, whose vaults have the credentials.

    Attributes:
        credentials_of: returns the credentials of a team, by its id.

    """

    vault: PersonVault
    memberships: Memberships
    credentials_of: Callable[[str], CredentialSource]

    def directory_generation(self) -> int:
        """Return the generation of the directory of teams.

        Raises AuthenticationUnavailable if the cached directory is too old to be used.
        """
        self.memberships.check()
        return self.memberships.generation

    async def admit(self, signed_in: SignedIn) -> None:
        """Return if a person who has just signed in is a member of a team. Raises LoginRefused and LoginUnavailable."""
        try:
            await self.memberships.find_or_join(team_person(signed_in.issuer, signed_in.subject, signed_in.secrets))
        except AccessRefused as exc:
            raise LoginRefused(str(exc)) from None
        except AuthenticationUnavailable as exc:
            raise LoginUnavailable(str(exc)) from None

    async def of(self, holder: AccessHolder) -> Caller | None:
        """Return the caller; None where the person cannot be read.

        Raises AccessRefused and AuthenticationUnavailable.
        """
        known = self.vault.open(holder.person)
        if known is None:
            return None
        person = team_person(holder.person.issuer, holder.person.subject, known)
        membership = await self.memberships.find_or_join(person)
        principal = principal_of(membership, holder.scopes)
        return Caller(principal, self.credentials_of(membership.team.id), can_ask_for_scopes=True)


def team_person(issuer: str, subject: str, known: PersonSecrets) -> TeamPerson:
    """Return a person as the directory of teams knows people."""
    try:
        name = valid_name(known.label)
    except ValueError:
        name = subject[:40]
    return TeamPerson(issuer, subject, name, known.teams or ())
