"""The interface of the cache that replicas share, and its exceptions."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class StoreUnavailable(Exception):
    """The store does not answer now. Its values may still be there later."""


class StoreRefuses(StoreUnavailable):
    """The store answers with an error. It may be read-only, full or loading, or the user may lack permission."""


class StoreBusy(StoreUnavailable):
    """Too many operations of this process are in flight. The store itself may work."""


class StoreOverfull(StoreUnavailable):
    """Other programs have stored more in these keys than this service reads. The store itself works."""


class Store(Protocol):
    """A key-value store of bytes with a time to live. An absent key was never put, has expired, or was evicted.

    Every method raises StoreUnavailable if the store does not answer in time.
    """

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value or None per key, in order, in one round trip. All keys belong to one tenant."""
        ...

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Store each value for its time to live, in one round trip. All keys belong to one tenant."""
        ...

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the keys, and ignore absent ones. All keys belong to one tenant."""
        ...

    async def ping(self) -> None:
        """Return if the store answers; else raise StoreUnavailable."""
        ...
