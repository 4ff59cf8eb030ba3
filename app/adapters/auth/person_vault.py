"""Seals what is known of people in the vault, each for its person alone."""

import json
import logging
from dataclasses import asdict

from app.adapters.vault import CannotOpen, Vault
from app.domain.sign_in import Person, PersonSecrets
from app.ports.sign_in_store import People

_PURPOSE = "person"
MOST_AT_ONCE = 200
"""People that one statement reads to seal them again."""

log = logging.getLogger(__name__)


class SealedPeople:
    """The PersonVault over the service's vault."""

    def __init__(self, vault: Vault) -> None:
        """Seal with `vault`."""
        self._vault = vault

    def seal(self, person_id: str, secrets: PersonSecrets) -> str:
        """Return `secrets` sealed for the person with this id."""
        return self._vault.seal(_PURPOSE, json.dumps(asdict(secrets)).encode(), person_id)

    def open(self, person: Person) -> PersonSecrets | None:
        """Return what is sealed; None if it was sealed under another secret key."""
        try:
            known = json.loads(self._vault.open(_PURPOSE, person.sealed, person.id))
        except CannotOpen:
            log.error(  # noqa: TRY400 - a setting, and no fault of the program
                "Person %s cannot be read: sealed under another LUMA_MCP_SECRET_KEY. Set that one, or add it behind "
                "the present one. Until then the person has to sign in again",
                person.id,
            )
            return None
        teams = known.pop("teams", None)
        return PersonSecrets(**known, teams=tuple(teams) if teams is not None else None)

    async def seal_again(self, people: People) -> None:
        """Seal everybody under the current secret keys. Several processes may do so at once.

        Raises DatabaseUnavailable.
        """
        after = ""
        while some := await people.all_sealed(MOST_AT_ONCE, after):
            for person in some:
                if not self._vault.is_current(person.sealed) and (known := self.open(person)) is not None:
                    await people.replace_sealed(person, self.seal(person.id, known))
            after = some[-1].id
