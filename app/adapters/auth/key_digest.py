"""The digests that stand for keys in the database: keyed with a pepper, which the database holds sealed.

The pepper is random and of one database. A rotation of the service's secret key seals it again, and keeps every key.
"""

import hmac
import os

from app.adapters.vault import Vault
from app.ports.directory import DirectoryFacts

PEPPER_BYTES = 32
_PURPOSE = "pepper"


class KeyDigest:
    """HMAC-SHA-256 under the pepper."""

    __slots__ = ("_keyed",)

    def __init__(self, pepper: bytes) -> None:
        """Key the digests with `pepper`."""
        self._keyed = hmac.new(pepper, digestmod="sha256")

    def of(self, key: str) -> str:
        """Return the digest of a key, 64 hex digits."""
        keyed = self._keyed.copy()
        keyed.update(key.encode())
        return keyed.hexdigest()


async def load_key_digest(facts: DirectoryFacts, vault: Vault) -> KeyDigest:
    """Return the digests of a database. Raises CannotOpen and DatabaseUnavailable, as `load_pepper` does."""
    return KeyDigest(await load_pepper(facts, vault))


async def load_pepper(facts: DirectoryFacts, vault: Vault) -> bytes:
    """Return the pepper of a database, which is made where there is none.

    A pepper under former secret keys is sealed again under the current ones. Raises CannotOpen where the vault has not
    the secret key that it is sealed under, and DatabaseUnavailable.
    """
    sealed = await facts.pepper()
    if sealed is None:
        sealed = await facts.keep_pepper(vault.seal(_PURPOSE, os.urandom(PEPPER_BYTES)))
    pepper = vault.open(_PURPOSE, sealed)
    if not vault.is_current(sealed):
        await facts.replace_pepper(sealed, vault.seal(_PURPOSE, pepper))
    return pepper
