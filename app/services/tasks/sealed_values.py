"""Encrypts values for a shared store. A value that was not sealed by this service for its key is a cache miss."""

from collections.abc import Iterable, Iterator, Sequence

from app.ports.sealing import ValueSealer
from app.services.key_namespace import KeyNamespace

MAX_BYTES = 16 * 1024
"""Size limit of a stored value. Larger ones are neither written nor read. The largest task takes 13 KB."""


class SealedValues:
    """Seals values of one kind. Each key contains backend, tenant, kind and id.

    A value is encrypted because a task contains its prompt. It can be unsealed under its own key only, and is unsealed
    before it is parsed.
    """

    def __init__(self, kind: str, keys: KeyNamespace, sealer: ValueSealer) -> None:
        """`kind` is part of the keys. It consists of a name and the version of the value's format."""
        self._kind = kind
        self._keys = keys
        self._sealer = sealer

    def key(self, tenant: str, name: str) -> str:
        """Return the key of a value. It ends with `name`; the part before is the same for all values of a tenant."""
        return self._keys.key(tenant, self._kind, name)

    def seal(self, key: str, value: bytes | None) -> bytes | None:
        """Return `value` sealed for `key`; None if `value` is None or the result is too large."""
        if value is None:
            return None
        sealed = self._sealer.seal(key, value)
        return sealed if len(sealed) <= MAX_BYTES else None

    def unseal_each(self, keys: Sequence[str], stored: Iterable[bytes | None]) -> Iterator[bytes | None]:
        """Yield the unsealed value for each of `keys`; None if it is absent, too large or not sealed for that key."""
        checked = (value if value is not None and len(value) <= MAX_BYTES else None for value in stored)
        return self._sealer.unseal_each(zip(keys, checked, strict=True))
