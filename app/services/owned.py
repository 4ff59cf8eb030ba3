"""How values are kept in a store that others can write to: under a key of their owner's, and marked for that key."""

import struct
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from app.ports.sealing import Signing
from app.services.key_space import KeySpace

T = TypeVar("T")

LARGEST_BYTES = 64 * 1024
"""What is kept of one value at most; a larger one is not kept, and is not even looked at where it is found."""


CLOCKS_DIFFER_SECONDS = 5.0
"""How much longer than its time a value counts, for the clocks of two replicas may differ by as much."""

_UNTIL = struct.Struct(">d")


class NotOurs(Exception):
    """Raised for a value that somebody else wrote, or that was damaged."""


class Owned(Generic[T]):
    """Packs values of one kind for the tenant and the id that they belong to.

    The mark covers backend, tenant, kind and id, by way of the key, and the end of its time: a value that was moved,
    changed or made up by somebody without the secret is refused before it is parsed, and one that was put back after
    its time is a miss.
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

    def pack(self, key: str, value: T, until: float) -> bytes | None:
        """Return the bytes to keep under `key` until then (unix seconds); None where they are too many to be kept."""
        body = _UNTIL.pack(until) + self._adapter.dump_json(value, exclude_none=True)
        return self._signing.sign(key, body) if len(body) < LARGEST_BYTES else None

    def unpack(self, key: str, kept: bytes, now: float) -> T | None:
        """Return the value, or None where its time is over.

        Raises NotOurs for what was not packed for `key` with our secret, or does not parse.
        """
        body = self._signing.verified(key, kept) if len(kept) <= LARGEST_BYTES else None
        if body is None or len(body) < _UNTIL.size:
            raise NotOurs
        if _UNTIL.unpack_from(body)[0] + CLOCKS_DIFFER_SECONDS < now:
            return None
        try:
            return self._adapter.validate_json(body[_UNTIL.size :])
        except ValidationError:
            raise NotOurs from None
