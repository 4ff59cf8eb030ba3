"""How values are kept in a store that others can write to: under a key of their owner's, and marked for that key."""

from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from app.ports import Signing
from app.services.key_space import KeySpace

T = TypeVar("T")

LARGEST_BYTES = 64 * 1024
"""What is kept of one value at most; a larger one is not kept, and is not even looked at where it is found."""


class Owned(Generic[T]):
    """Packs values of one kind for the tenant and the id that they belong to.

    The mark covers backend, tenant, kind and id, by way of the key: a value that was moved, changed or made up by
    somebody without the secret is refused before it is parsed.
    """

    def __init__(self, adapter: TypeAdapter[T], kind: str, keys: KeySpace, signing: Signing) -> None:
        """Write and read through `adapter`; `kind` names it in keys, with a number that rises with the form."""
        self._adapter = adapter
        self._kind = kind
        self._keys = keys
        self._signing = signing

    def key(self, tenant: str, name: str) -> str:
        """Return where a value is kept."""
        return self._keys.key(tenant, self._kind, name)

    def pack(self, key: str, value: T) -> bytes | None:
        """Return the bytes to keep under `key`, or None where the value is too large to be kept."""
        body = self._adapter.dump_json(value, exclude_none=True)
        return self._signing.sign(key, body) if len(body) < LARGEST_BYTES else None

    def unpack(self, key: str, kept: bytes) -> T | None:
        """Return the value, or None for what was not packed for `key` with our secret, or does not parse."""
        if len(kept) > LARGEST_BYTES:
            return None
        body = self._signing.verified(key, kept)
        if body is None:
            return None
        try:
            return self._adapter.validate_json(body)
        except ValidationError:
            return None
