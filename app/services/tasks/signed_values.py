"""Signs values for a shared store. A value that others moved, changed or wrote is a cache miss."""

from collections.abc import Iterable, Iterator, Sequence

from app.ports.sealing import Signer
from app.services.key_namespace import KeyNamespace

LARGEST_BYTES = 64 * 1024
"""Size limit of a stored value. Larger ones are neither written nor read."""


class SignedValues:
    """Signs values of one kind. Each key contains backend, tenant, kind and id.

    The signature covers the key and the whole value. It is verified before the value is parsed.
    """

    def __init__(self, kind: str, keys: KeyNamespace, signing: Signer) -> None:
        """`kind` is part of the keys. It consists of a name and the version of the value's format."""
        self._kind = kind
        self._keys = keys
        self._signing = signing

    def key(self, tenant: str, name: str) -> str:
        """Return the key of a value. It ends with `name`, and the rest is equal for all values of a tenant."""
        return self._keys.key(tenant, self._kind, name)

    def sign(self, key: str, value: bytes | None) -> bytes | None:
        """Return `value` signed for `key`; None if `value` is None or the result is too large."""
        if value is None:
            return None
        signed = self._signing.sign(key, value)
        return signed if len(signed) <= LARGEST_BYTES else None

    def verified(self, keys: Sequence[str], stored: Iterable[bytes | None]) -> Iterator[bytes | None]:
        """Yield the verified value for each of `keys`; None if it is absent, too large or not signed for that key."""
        checked = (value if value is not None and len(value) <= LARGEST_BYTES else None for value in stored)
        return self._signing.verified_each(zip(keys, checked, strict=True))
