"""Encrypts values in a shared store, which others may read and write as well."""

import hmac
import os
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.adapters.secret_keys import key_bytes

_NONCE_BYTES = 12
ADDED_BYTES = _NONCE_BYTES + 16
"""Number of bytes by which sealing lengthens a value: nonce and tag."""


class AesValueSealer:
    """Encrypts values with AES-GCM, under a key that is derived from a secret key.

    A value is sealed for its place: its key in the store. Decryption also detects changes, and is faster than a check
    of an HMAC (SHA-256), which would detect changes but not hide the value.
    """

    def __init__(self, *secrets: str) -> None:
        """Derive a key from each of `secrets`: the first one seals, all of them open."""
        derived = (hmac.digest(secret, b"sealing values:", "sha256") for secret in key_bytes(secrets))
        self._cipher, *self._former = map(AESGCM, derived)

    def seal(self, place: str, body: bytes) -> bytes:
        """Return `body` encrypted. It can be opened for `place` only."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, body, place.encode())

    def unseal_each(self, sealed: Iterable[tuple[str, bytes | None]]) -> Iterator[bytes | None]:
        """Yield the body sealed for each place, in order; None if it is absent or was not sealed for that place."""
        decrypt = self._cipher.decrypt
        for place, value in sealed:
            if value is None or len(value) < ADDED_BYTES:
                yield None
                continue
            try:
                yield decrypt(value[:_NONCE_BYTES], value[_NONCE_BYTES:], place.encode())
            except InvalidTag:
                yield self._opened_by_former(place, value)

    def _opened_by_former(self, place: str, value: bytes) -> bytes | None:
        """Return the body of a value that was sealed with a former key; None if it was not sealed for `place` at all.

        It is only called after the current key has failed.
        """
        for cipher in self._former:
            try:
                return cipher.decrypt(value[:_NONCE_BYTES], value[_NONCE_BYTES:], place.encode())
            except InvalidTag:
                continue
        return None
