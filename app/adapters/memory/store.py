"""The store of a single process: bounded in bytes, gone when the process is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from cachetools import TLRUCache

OVERHEAD_BYTES = 300
"""About what one entry costs beside its key and value: the objects and the tables that hold them."""


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    ttl_seconds: float
    size_bytes: int


class MemoryStore:
    """A Store in this process; the least recently used entries give way when it is full."""

    def __init__(self, *, capacity_bytes: int, clock: Callable[[], float]) -> None:
        """Hold at most `capacity_bytes`; `clock` counts seconds and never goes back."""
        self._entries: TLRUCache[str, _Entry] = TLRUCache(
            capacity_bytes,
            ttu=lambda _key, entry, now: now + entry.ttl_seconds,
            timer=clock,
            getsizeof=lambda entry: entry.size_bytes,
        )

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value per key; never fails."""
        found = (self._entries.get(key) for key in keys)
        return [entry.value if entry is not None else None for entry in found]

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Keep each value for its time; in place of one that is larger than the whole store, nothing is kept."""
        for key, value in values.items():
            entry = _Entry(value, ttl_seconds[key], len(key.encode()) + len(value) + OVERHEAD_BYTES)
            if entry.size_bytes <= self._entries.maxsize:
                self._entries[key] = entry
            else:
                self._entries.pop(key, None)

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Forget the keys."""
        for key in keys:
            self._entries.pop(key, None)

    async def ping(self) -> None:
        """Return: a process always reaches itself."""

    async def __aenter__(self) -> Self:
        """Begin with what is kept."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Forget everything."""
        await self.aclose()

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()
