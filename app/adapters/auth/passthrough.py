"""Passthrough authentication: the caller's bearer token is the credential for the backend."""

import hmac
from collections.abc import Sequence

from app.adapters.secret_keys import key_bytes
from app.domain.access import Credential, Principal
from app.ports.auth import Caller

_PURPOSE = b"tenant:"
"""Prefix of the hashed text: the same secret keys are used for other purposes."""


class SingleCredential:
    """The CredentialSource of a caller with a single credential."""

    __slots__ = ("_credential",)

    def __init__(self, credential: Credential) -> None:
        """Hold `credential`."""
        self._credential = credential

    async def all(self) -> Sequence[Credential]:
        """Return the only credential."""
        return (self._credential,)

    async def one(self) -> Credential:
        """Return the credential."""
        return self._credential


class PassthroughAuthenticator:
    """Identifies callers by an HMAC of their token. Without the HMAC's key, a copy of the cache identifies nobody."""

    def __init__(self, *secrets: str) -> None:
        """Use the first of `secrets` as the key for subjects, and the others for the subjects before a key rotation."""
        current, *former = (hmac.new(key, _PURPOSE, "sha256") for key in key_bytes(secrets))
        self._current, self._former = current, former

    async def authenticate(self, token: str) -> Caller:
        """Return the caller who holds `token`. Any token is accepted here: only the backend can check it."""
        subject = self.hash_token(token)
        former = tuple(_keyed_hash(keyed, token) for keyed in self._former) if self._former else ()
        return Caller(Principal(subject, former=former), SingleCredential(Credential(subject, token)))

    def hash_token(self, token: str) -> str:
        """Return the keyed hash of `token`, 128 bits in hexadecimal digits: the subject of its holder."""
        return _keyed_hash(self._current, token)


def _keyed_hash(keyed: hmac.HMAC, token: str) -> str:
    hashed = keyed.copy()
    hashed.update(token.encode())
    return hashed.digest()[:16].hex()
