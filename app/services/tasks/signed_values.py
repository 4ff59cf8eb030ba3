"""How values are kept in a store that others can write to: under a key of their owner's, and marked for that key."""

from collections.abc import Iterable, Iterator, Sequence

from app.ports.sealing import Signer
from app.services.key_namespace import KeyNamespace

LARGEST_BYTES = 64 * 1024
"""What is kept of one value at most; a larger one is not kept, and is not even looked at where it is found."""


class SignedValues:
    """Signs values of one kind for the tenant and the id that they belong to.

    The mark covers backend, tenant, kind and id, by way of the key, and the whole value: one that was moved, changed or
    made up by somebody without the secret is refused before anything in it is looked at.
    """

    def __init__(self, kind: str, keys: KeyNamespace, signing: Signer) -> None:
        """`kind` names the values in keys, with a number that rises with their form."""
        self._kind = kind
        self._keys = keys
        self._signing = signing

    def key(self, tenant: str, name: str) -> str:
        """Return where a value is kept: it ends with `name`, and begins alike for all names of a tenant."""
        return self._keys.key(tenant, self._kind, name)

    def sign(self, key: str, value: bytes | None) -> bytes | None:
        """Return the bytes to keep under `key`; None where they are too many, or there is no value."""
        if value is None:
            return None
        kept = self._signing.sign(key, value)
        return kept if len(kept) <= LARGEST_BYTES else None

    def verified(self, keys: Sequence[str], kept: Iterable[bytes | None]) -> Iterator[bytes | None]:
        """Yield for each of `keys` the value, or None where there is none that was signed for it with our secret."""
        looked_at = (value if value is not None and len(value) <= LARGEST_BYTES else None for value in kept)
        return self._signing.verified_each(zip(keys, looked_at, strict=True))
