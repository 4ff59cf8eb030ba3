"""A cache store in the memory of a single process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from cachetools import TLRUCache

OVERHEAD_BYTES = 300
"""Estimated memory of an entry beside its key and value: Python objects and slots of hash tables."""


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    ttl_seconds: float
    size_bytes: int


class MemoryStore:
    """A Store in this process. It is bounded in bytes, and evicts the least recently used entries when it is full."""

    def __init__(self, *, capacity_bytes: int, clock: Callable[[], float]) -> None:
        """Use at most `capacity_bytes`. `clock` is a monotonic clock in seconds."""
        self._entries: TLRUCache[str, _Entry] = TLRUCache(
            capacity_bytes,
            ttu=lambda _key, entry, now: now + entry.ttl_seconds,
            timer=clock,
            getsizeof=lambda entry: entry.size_bytes,
        )

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value per key; None if there is none."""
        entries = (self._entries.get(key) for key in keys)
        return [entry.value if entry is not None else None for entry in entries]

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Store each value with its time to live. A value larger than the whole store only removes the old value."""
        for key, value in values.items():
            entry = _Entry(value, ttl_seconds[key], len(key.encode()) + len(value) + OVERHEAD_BYTES)
            if entry.size_bytes <= self._entries.maxsize:
                self._entries[key] = entry
            else:
                self._entries.pop(key, None)

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the keys."""
        for key in keys:
            self._entries.pop(key, None)

    async def ping(self) -> None:
        """Do nothing: this store is always available."""

    async def __aenter__(self) -> Self:
        """Do nothing: there is no connection to open."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Drop all entries."""
        await self.aclose()

    async def aclose(self) -> None:
        """Drop all entries."""
        self._entries.clear()
