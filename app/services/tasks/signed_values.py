"""Signs values for a shared store, so that a value moved, changed or written by others is a cache miss."""

from collections.abc import Iterable, Iterator, Sequence

from app.ports.sealing import Signer
from app.services.key_namespace import KeyNamespace

LARGEST_BYTES = 64 * 1024
"""Largest stored value. Larger ones are neither written nor read."""


class SignedValues:
    """Signs values of one kind for their key, which names backend, tenant, kind and id.

    The signature covers the key and the whole value. It is verified before anything in the value is parsed.
    """

    def __init__(self, kind: str, keys: KeyNamespace, signing: Signer) -> None:
        """`kind` is part of the key: a name, and the number of the value's format."""
        self._kind = kind
        self._keys = keys
        self._signing = signing

    def key(self, tenant: str, name: str) -> str:
        """Return the key of a value. It ends with `name`; the keys of one tenant have a common prefix."""
        return self._keys.key(tenant, self._kind, name)

    def sign(self, key: str, value: bytes | None) -> bytes | None:
        """Return the signed bytes for `key`; None if `value` is None or too large."""
        if value is None:
            return None
        kept = self._signing.sign(key, value)
        return kept if len(kept) <= LARGEST_BYTES else None

    def verified(self, keys: Sequence[str], kept: Iterable[bytes | None]) -> Iterator[bytes | None]:
        """Yield the value of each of `keys`; None if there is none with a valid signature for that key."""
        looked_at = (value if value is not None and len(value) <= LARGEST_BYTES else None for value in kept)
        return self._signing.verified_each(zip(keys, looked_at, strict=True))
