"""Seals the secrets of people who have signed in. A sealed text can be unsealed for its person only."""

import json
import logging
from dataclasses import asdict

from app.adapters.vault import CannotOpen, Vault
from app.domain.sign_in import Person, PersonSecrets
from app.ports.sign_in_store import People

_PURPOSE = "person"
BATCH_SIZE = 200
"""Number of people that one SQL statement reads when the secrets of all people are sealed again."""

log = logging.getLogger(__name__)


class VaultPersonSealer:
    """The PersonVault that uses the service's vault."""

    def __init__(self, vault: Vault) -> None:
        """Seal with `vault`."""
        self._vault = vault

    def seal(self, person_id: str, secrets: PersonSecrets) -> str:
        """Return `secrets` sealed for the person with this id."""
        return self._vault.seal(_PURPOSE, json.dumps(asdict(secrets)).encode(), person_id)

    def open(self, person: Person) -> PersonSecrets | None:
        """Return the person's secrets. If they were sealed under another secret key, log that and return None."""
        try:
            content = json.loads(self._vault.open(_PURPOSE, person.sealed, person.id))
        except CannotOpen:
            log.error(  # noqa: TRY400 - a wrong setting, and no bug
                "The secrets of person %s were sealed under another LUMA_MCP_SECRET_KEY, so the person has to sign in "
                "again. Set that key, or add it after the present one",
                person.id,
            )
            return None
        teams = content.pop("teams", None)
        return PersonSecrets(**content, teams=tuple(teams) if teams is not None else None)

    async def seal_again(self, people: People) -> None:
        """Seal the secrets of all people under the current secret keys. Several processes may do so at once.

        Secrets that cannot be unsealed are left as they are. Raises DatabaseUnavailable.
        """
        after = ""
        while batch := await people.all_sealed(BATCH_SIZE, after):
            for person in batch:
                if not self._vault.is_current(person.sealed) and (secrets := self.open(person)) is not None:
                    await people.replace_sealed(person, self.seal(person.id, secrets))
            after = batch[-1].id
