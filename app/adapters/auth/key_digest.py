"""Keyed digests of team keys: the database stores them in place of the keys.

The key of the digests is the pepper, a random secret of one database, which stores it sealed. When the service's secret
key is rotated, the pepper is sealed again but does not change, so team keys remain valid.
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
        """Use `pepper` as the key of the HMAC."""
        self._keyed = hmac.new(pepper, digestmod="sha256")

    def of(self, key: str) -> str:
        """Return the digest of a key, 64 hex digits."""
        keyed = self._keyed.copy()
        keyed.update(key.encode())
        return keyed.hexdigest()


async def load_key_digest(facts: DirectoryFacts, vault: Vault) -> KeyDigest:
    """Return the KeyDigest with the pepper of a database. Raises CannotOpen and DatabaseUnavailable."""
    return KeyDigest(await load_pepper(facts, vault))


async def load_pepper(facts: DirectoryFacts, vault: Vault) -> bytes:
    """Return the pepper of a database, which is created if it is missing.

    A pepper that is sealed under former secret keys is sealed again under the current ones. Raises CannotOpen if the
    vault does not have the secret key under which the pepper is sealed, and DatabaseUnavailable.
    """
    sealed = await facts.pepper()
    if sealed is None:
        sealed = await facts.keep_pepper(vault.seal(_PURPOSE, os.urandom(PEPPER_BYTES)))
    pepper = vault.open(_PURPOSE, sealed)
    if not vault.is_current(sealed):
        await facts.replace_pepper(sealed, vault.seal(_PURPOSE, pepper))
    return pepper
