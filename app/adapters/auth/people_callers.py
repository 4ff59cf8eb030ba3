"""The callers of access tokens: people who are tenants of their own, or members of teams."""

from collections.abc import Callable
from dataclasses import dataclass

from app.adapters.auth.passthrough import SingleCredential
from app.domain.access import Credential, Principal
from app.domain.teams import Membership, principal_of
from app.ports.auth import Caller, CredentialSource
from app.ports.sign_in import PersonVault
from app.ports.sign_in_store import AccessHolder
from app.services.teams.memberships import Memberships
from app.services.teams.people import directory_person


class PersonCallers:
    """Callers for people who are tenants of their own, each with a credential of their own."""

    def __init__(self, person_vault: PersonVault, hash_token: Callable[[str], str]) -> None:
        """Unseal credentials with `person_vault`.

        `hash_token` returns the keyed hash under which limits count a credential.
        """
        self._person_vault = person_vault
        self._hash_token = hash_token

    def directory_generation(self) -> int:
        """Return 0, because these callers do not depend on a directory of teams."""
        return 0

    async def of(self, holder: AccessHolder) -> Caller | None:
        """Return the caller; None if the person's secrets cannot be unsealed, or hold no credential."""
        secrets = self._person_vault.open(holder.person)
        if secrets is None or secrets.credential is None:
            return None
        credential = Credential(self._hash_token(secrets.credential), secrets.credential)
        principal = Principal(holder.person.id, scopes=holder.scopes)
        return Caller(principal, SingleCredential(credential), can_ask_for_scopes=True)


@dataclass(frozen=True, slots=True)
class MemberCallers:
    """Callers for people who are members of teams. Calls use the credentials of the person's team.

    Attributes:
        person_vault: unseals the secrets of people.
        memberships: finds the team of a person.
        credentials_of: returns the credentials that a member calls the backend with.

    """

    person_vault: PersonVault
    memberships: Memberships
    credentials_of: Callable[[Membership], CredentialSource]

    def directory_generation(self) -> int:
        """Return the generation of the directory of teams.

        Raises AuthenticationUnavailable if the cached directory is too old to be used.
        """
        self.memberships.check()
        return self.memberships.generation

    async def of(self, holder: AccessHolder) -> Caller | None:
        """Return the caller; None if the person's secrets cannot be unsealed.

        Raises AccessRefused and AuthenticationUnavailable.
        """
        secrets = self.person_vault.open(holder.person)
        if secrets is None:
            return None
        person = directory_person(holder.person.issuer, holder.person.subject, secrets)
        membership = await self.memberships.find_or_join(person)
        principal = principal_of(membership, holder.scopes)
        return Caller(principal, self.credentials_of(membership), can_ask_for_scopes=True)
