"""How values are kept in a store that others can write to: with their owner, and believed only if everything fits."""

from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class Owned(Generic[T]):
    """Packs values of one type with whom or what they belong to: a tenant, or the key that they are filed under."""

    def __init__(self, adapter: TypeAdapter[T]) -> None:
        """Write and read through `adapter`."""
        self._adapter = adapter

    def pack(self, owner: str, value: T) -> bytes:
        """Return the bytes to keep."""
        return owner.encode() + b" " + self._adapter.dump_json(value, exclude_none=True)

    def unpack(self, owner: str, kept: bytes) -> T | None:
        """Return the value, or None for what does not parse or has another owner."""
        named, _, body = kept.partition(b" ")
        if named != owner.encode():
            return None
        try:
            return self._adapter.validate_json(body)
        except ValidationError:
            return None
