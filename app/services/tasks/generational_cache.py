"""A bounded cache with cheap eviction: it drops a whole generation of entries at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class GenerationalCache(Generic[K, V]):
    """Keeps recently used entries in two generations. This approximates LRU without an order of all entries.

    Entries that are put or read move to the younger generation. When it would exceed half of the limit, it becomes the
    older generation, and the previous older one is dropped. An entry therefore stays until other entries with at least
    half of the limit were put or read after it.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        """Start empty, with the total weight limited to `limit`. `weigh` returns the weight of a value."""
        self._weigh = weigh
        self._half = limit // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._young_weight = 0
        self._old_weight = 0

    @property
    def weight(self) -> int:
        """Upper bound of the weight of all entries. An entry put twice, or in both generations, counts twice."""
        return self._young_weight + self._old_weight

    def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """Return one value or None per key, in order. Entries that are found count as used."""
        values = list(map(self._young.get, keys))
        if self._old and None in values:
            self._fill_from_old(keys, values)
        return values

    def put_many(self, entries: Mapping[K, V], weight: int) -> None:
        """Put `entries`, with the total weight `weight`. Nothing is put if that is more than half of the limit."""
        if weight > self._half:
            return
        if self._young_weight + weight > self._half:
            self._old, self._old_weight = self._young, self._young_weight
            self._young, self._young_weight = {}, 0
        self._young.update(entries)
        self._young_weight += weight

    def _fill_from_old(self, keys: Sequence[K], values: list[V | None]) -> None:
        """Replace None in `values` from the older generation, and move the entries found to the younger generation."""
        old_values = list(map(self._old.get, keys))
        used = {key: value for key, value in zip(keys, old_values, strict=True) if value is not None}
        if used:
            values[:] = [new if new is not None else old for new, old in zip(values, old_values, strict=True)]
            self.put_many(used, sum(map(self._weigh, used.values())))
