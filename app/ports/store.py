"""The cache that replicas share, and how it fails."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class StoreUnavailable(Exception):
    """The store cannot answer now; what it holds may still be there later."""


class StoreRefuses(StoreUnavailable):
    """The store answers, but does not do what it is asked: a replica, full, loading, or without the right to."""


class StoreBusy(StoreUnavailable):
    """More is asked of the store than this process may ask at once; the store itself may be well."""


class Store(Protocol):
    """Bytes by key with a time to live. Absence means never put, expired or evicted; nobody may tell which.

    Every method raises StoreUnavailable where the store cannot answer in time.
    """

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value per key, in order, in one round trip. The keys share one tenant."""
        ...

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Keep each value for its time, in one round trip. The keys share one tenant."""
        ...

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Forget the keys; those that are not there are no matter. The keys share one tenant."""
        ...

    async def ping(self) -> None:
        """Return if the store answers."""
        ...
