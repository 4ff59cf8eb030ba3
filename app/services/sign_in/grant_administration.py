"""Lists and revokes grants, the apps that people have connected, for operators."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.domain.sign_in import Grant
from app.domain.teams import Actor
from app.ports.directory import NotThere
from app.ports.grants import GrantDirectory
from app.ports.sign_in import PersonVault

PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class ListedGrant:
    """A grant. `label` is the name of its person's account; None if the name was sealed under another secret key."""

    grant: Grant
    label: str | None


class GrantAdministration:
    """The grants of all people. Every method raises DatabaseUnavailable."""

    def __init__(self, grants: GrantDirectory, vault: PersonVault) -> None:
        """List and revoke what is in `grants`; `vault` opens the names of people."""
        self._grants = grants
        self._vault = vault

    async def active(self, person: str | None) -> list[ListedGrant]:
        """Return the grants that have not ended, newest first. `person` is an id or a label; None for all people."""
        listed_grants = [
            listed async for listed in self._each() if person in (None, listed.grant.person_id, listed.label)
        ]
        return sorted(listed_grants, key=lambda listed: listed.grant.created_at, reverse=True)

    async def end(self, grant_id: str, actor: Actor) -> Grant:
        """Revoke a grant. Raises NotThere."""
        if (grant := await self._grants.revoke(grant_id, actor)) is None:
            raise NotThere(f"There is no grant {grant_id}, or it has ended. Look at the list of grants.")
        return grant

    async def end_all(self, person_id: str, actor: Actor) -> list[Grant]:
        """Revoke the grants of the person with this id, and sign their browsers out. Raises NotThere if none exists."""
        if not (grants := await self._grants.revoke_all(person_id, actor)):
            raise NotThere(f"The person {person_id} has no grants. Look at the list of grants.")
        return grants

    async def _each(self) -> AsyncIterator[ListedGrant]:
        after = ""
        while page := await self._grants.page(PAGE_SIZE, after):
            for grant, person in page:
                secrets = self._vault.open(person)
                yield ListedGrant(grant, secrets.label if secrets is not None else None)
            after = page[-1][0].id
