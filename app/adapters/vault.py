"""The vault: secrets sealed for the database, under keys that are derived from the service's secret keys.

Each part of a sealed text begins with the id of its key, so that a rotation finds what is still to be sealed again.
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
_BETWEEN = "|"
MOST_PARTS = 3
"""Secret keys that a text is sealed under. Those beyond still open."""
_CREDENTIAL = "credential"
SHORTEST_HINTED = 16
"""Characters; of a shorter secret no part is shown."""


class CannotOpen(Exception):
    """The text was sealed under none of the secret keys, or for something else, or was changed."""


class Vault:
    """AES-GCM under a key of its own for each purpose and secret key.

    A sealed text has a part for each secret key, the current one first. So while a rotation is under way, replicas that
    know one of the secrets alone go on opening what others seal.
    """

    def __init__(self, *secrets: str) -> None:
        """Derive keys from each of `secrets`, the current one first. Raises ValueError without any."""
        if not secrets:
            raise ValueError("a vault needs a secret key that outlives the process")
        self._secrets = {_key_id(secret.encode()): secret.encode() for secret in secrets}
        self._sealing = list(self._secrets)[:MOST_PARTS]

    def seal(self, purpose: str, plain: bytes, *context: str) -> str:
        """Return `plain` sealed for `purpose`, to be opened with the same `context`."""
        return _BETWEEN.join(self._part(key_id, purpose, plain, context) for key_id in self._sealing)

    def open(self, purpose: str, text: str, *context: str) -> bytes:
        """Return what was sealed. Raises CannotOpen."""
        parts = _parts(text)
        for key_id in self._secrets.keys() & parts.keys():
            try:
                sealed = base64.b64decode(parts[key_id], altchars=b"-_", validate=True)
                cipher = self._cipher(key_id, purpose)
                return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(context))
            except (InvalidTag, binascii.Error, ValueError):
                continue
        raise CannotOpen("sealed under a secret key that is not known here, for something else, or changed")

    def is_current(self, text: str) -> bool:
        """Return whether `text` is to be left as it is: sealed under these secret keys, or under newer ones.

        A replica that knows an older secret alone would undo a rotation: it leaves a text whose first part it cannot
        open as long as another part is its own.
        """
        key_ids = list(_parts(text))
        is_newer = self._sealing[0] in key_ids[1:] and key_ids[0] not in self._secrets
        return key_ids == self._sealing or is_newer

    def seal_credential(self, team_id: str, credential_id: str, backend: str, secret: str) -> str:
        """Return a team's credential sealed: it opens as this credential of this team for this backend alone."""
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
    """Seal every credential in use under the current secret keys; return those that do not open.

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
    """Return the part of a credential that lists show: its last characters, or none of a short one."""
    return f"…{secret[-4:]}" if len(secret) >= SHORTEST_HINTED else "…"


def _parts(text: str) -> dict[str, str]:
    """Return the parts of a sealed text by the ids of their keys, in their order."""
    return {key_id: sealed for key_id, _, sealed in (part.partition(".") for part in text.split(_BETWEEN))}


def _key_id(secret: bytes) -> str:
    """Return what names a secret key: nobody can tell the key from it."""
    return hmac.digest(secret, b"vault key id", "sha256")[:_KEY_ID_BYTES].hex()


def _bound(context: tuple[str, ...]) -> bytes:
    """Return the associated data: one spelling for each context, whatever its parts hold."""
    return json.dumps(context).encode()
