"""Signs values in a shared store or channel, to which other programs may write too."""

import hashlib
import hmac

from app.adapters.secret_keys import key_bytes

SIGNATURE_BYTES = 16


class HmacSigner:
    """Signs a value and its place with a key derived from a secret key. The place is a key or channel in the store.

    The signature is keyed BLAKE2b, a message authentication code (RFC 7693). It takes 1 microsecond for a task; HMAC
    takes two.
    """

    def __init__(self, *secrets: str) -> None:
        """Derive a key from each of `secrets`: the first one signs, all of them verify."""
        derived = (hmac.digest(secret, b"signing:", "sha256") for secret in key_bytes(secrets))
        self._current_hash, *self._former_hashes = (
            hashlib.blake2b(key=key, digest_size=SIGNATURE_BYTES) for key in derived
        )

    def sign(self, place: str, body: bytes) -> bytes:
        """Return the signature followed by `body`. It is valid for `place` only."""
        return _signature(self._current_hash, place, body) + body

    def verified(self, place: str, signed: bytes) -> bytes | None:
        """Return the body that was signed for `place`; None if the signature is not valid."""
        signature, body = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if hmac.compare_digest(signature, _signature(self._current_hash, place, body)):
            return body
        return body if self._has_former_signature(place, signed) else None

    def _has_former_signature(self, place: str, signed: bytes) -> bool:
        """Return whether the value was signed with a former key. Used only if the current key did not sign it."""
        signature, body = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        return any(
            hmac.compare_digest(signature, _signature(keyed_hash, place, body)) for keyed_hash in self._former_hashes
        )

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """Return the keyed hashes of `text` in hexadecimal digits, one for each secret, the current one first.

        A hash can be stored in place of the text: without the secret, guesses of the text cannot be verified.
        """
        return tuple(
            _signature(keyed_hash, purpose, text.encode()).hex()
            for keyed_hash in (self._current_hash, *self._former_hashes)
        )


def _signature(keyed_hash: "hashlib.blake2b", place: str, body: bytes) -> bytes:
    hashed = keyed_hash.copy()
    hashed.update(place.encode() + b"\0")
    hashed.update(body)
    return hashed.digest()
