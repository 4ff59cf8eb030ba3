"""How values are kept in a store that others can write to: with their owner, and believed only if everything fits."""

from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class Owned(Generic[T]):
    """Packs values of one type with the tenant that they belong to."""

    def __init__(self, adapter: TypeAdapter[T]) -> None:
        """Write and read through `adapter`."""
        self._adapter = adapter

    def pack(self, tenant: str, value: T) -> bytes:
        """Return the bytes to keep."""
        return tenant.encode() + b" " + self._adapter.dump_json(value, exclude_none=True)

    def unpack(self, tenant: str, kept: bytes) -> T | None:
        """Return the value, or None for what does not parse or belongs to another tenant."""
        owner, _, body = kept.partition(b" ")
        if owner != tenant.encode():
            return None
        try:
            return self._adapter.validate_json(body)
        except ValidationError:
            return None
