"""The vault encrypts ("seals") secrets for the database, under keys that are derived from the service's secret keys.

A sealed text has a part for each secret key. Each part begins with the id of its key, so that a rotation finds the
texts that must be sealed again.
"""

import base64
import binascii
import hmac
import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.domain.teams import TeamCredential
from app.ports.directory import TeamCredentials

_NONCE_BYTES = 12
_KEY_ID_BYTES = 4
_SEPARATOR = "|"
MAX_PARTS = 3
"""Maximum number of secret keys under which a text is sealed. Further ones are only used to open texts."""

_CREDENTIAL = "credential"
MIN_HINTED_LENGTH = 16
"""Fewest characters of a secret whose last characters are shown as a hint."""


class CannotOpen(Exception):
    """A text was sealed under another secret key, or for another purpose or context, or was changed."""


class Vault:
    """Seals and opens texts with AES-GCM, under a separate key for each purpose and secret key.

    A sealed text has a part for each secret key, the current one first. So during a rotation, replicas that have only
    one of the secret keys can open the texts that other replicas seal.
    """

    def __init__(self, *secrets: str) -> None:
        """Derive keys from each of `secrets`, the current one first. Raises ValueError if there are none."""
        if not secrets:
            raise ValueError("a vault needs a secret key that outlives the process")
        self._secrets = {_key_id(secret.encode()): secret.encode() for secret in secrets}
        self._sealing_key_ids = list(self._secrets)[:MAX_PARTS]

    def seal(self, purpose: str, plain: bytes, *context: str) -> str:
        """Return `plain` sealed for `purpose`. Opening it needs the same `purpose` and `context`."""
        return _SEPARATOR.join(self._part(key_id, purpose, plain, context) for key_id in self._sealing_key_ids)

    def open(self, purpose: str, text: str, *context: str) -> bytes:
        """Return the plain bytes of a sealed text. Raises CannotOpen."""
        parts = _parts(text)
        for key_id in self._secrets.keys() & parts.keys():
            try:
                sealed = base64.b64decode(parts[key_id], altchars=b"-_", validate=True)
                cipher = self._cipher(key_id, purpose)
                return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(context))
            except (InvalidTag, binascii.Error, ValueError):
                continue
        raise CannotOpen("sealed under another secret key, sealed for something else, or changed")

    def is_current(self, text: str) -> bool:
        """Return whether `text` is sealed under these secret keys or newer ones. If not, it must be sealed again.

        The keys are newer if the first part is under a key that this vault does not have, and another part is under the
        current key of this vault. Without that rule, a replica that has only the older key would undo a rotation.
        """
        key_ids = list(_parts(text))
        is_newer = self._sealing_key_ids[0] in key_ids[1:] and key_ids[0] not in self._secrets
        return key_ids == self._sealing_key_ids or is_newer

    def seal_credential(self, team_id: str, credential_id: str, backend: str, secret: str) -> str:
        """Return a team's credential sealed. It can be opened only for the same team, credential id and backend."""
        return self.seal(_CREDENTIAL, secret.encode(), team_id, credential_id, backend)

    def open_credential(self, credential: TeamCredential) -> str:
        """Return the secret of a credential. Raises CannotOpen."""
        context = (credential.team_id, credential.id, credential.backend)
        return self.open(_CREDENTIAL, credential.sealed, *context).decode()

    def _part(self, key_id: str, purpose: str, plain: bytes, context: tuple[str, ...]) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher(key_id, purpose).encrypt(nonce, plain, _bound(context))
        return f"{key_id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def _cipher(self, key_id: str, purpose: str) -> AESGCM:
        return AESGCM(hmac.digest(self._secrets[key_id], b"vault:" + purpose.encode(), "sha256"))


async def seal_credentials_again(credentials: TeamCredentials, vault: Vault) -> list[TeamCredential]:
    """Seal every credential in use under the current secret keys, and return those that cannot be opened.

    Several processes may do so at once. Raises DatabaseUnavailable.
    """
    lost = []
    for credential in await credentials.in_use():
        if vault.is_current(credential.sealed):
            continue
        try:
            secret = vault.open_credential(credential)
        except CannotOpen:
            lost.append(credential)
            continue
        sealed = vault.seal_credential(credential.team_id, credential.id, credential.backend, secret)
        await credentials.replace_sealed(credential, sealed)
    return lost


def hint(secret: str) -> str:
    """Return the part of a credential that lists show: its last four characters, or none if it is short."""
    return f"…{secret[-4:]}" if len(secret) >= MIN_HINTED_LENGTH else "…"


def _parts(text: str) -> dict[str, str]:
    """Return the parts of a sealed text in their order, by the id of the key of each."""
    return {key_id: sealed for key_id, _, sealed in (part.partition(".") for part in text.split(_SEPARATOR))}


def _key_id(secret: bytes) -> str:
    """Return the id of a secret key, a hash that does not reveal the key."""
    return hmac.digest(secret, b"vault key id", "sha256")[:_KEY_ID_BYTES].hex()


def _bound(context: tuple[str, ...]) -> bytes:
    """Return the associated data for a context. JSON keeps contexts distinct whatever characters they contain."""
    return json.dumps(context).encode()
