"""A bounded dict whose eviction costs nothing per entry: it drops half of the entries at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class GenerationalCache(Generic[K, V]):
    """Keeps recently used entries, in two generations instead of an order of all entries.

    Entries that are put or used move to the younger generation. Once it reaches half of the limit, it becomes the older
    one, and the previous older one is dropped. An entry therefore stays until half of the limit was used after it.
    """

    def __init__(self, most: int, weigh: Callable[[V], int]) -> None:
        """Start empty, with room for the weight `most`; `weigh` returns what a value weighs."""
        self._weigh = weigh
        self._half = most // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._young_weight = 0
        self._old_weight = 0

    @property
    def weight(self) -> int:
        """At most what all entries weigh; one that was put twice, or is in both generations, is counted twice."""
        return self._young_weight + self._old_weight

    def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """Return one value per key, in order, or None; those that are there count as used."""
        values = list(map(self._young.get, keys))
        if self._old and None in values:
            self._fill_from_old(keys, values)
        return values

    def put_many(self, entries: Mapping[K, V], weight: int) -> None:
        """Keep `entries`, which weigh `weight` together; none of them where that is more than half of the room."""
        if weight > self._half:
            return
        if self._young_weight + weight > self._half:
            self._old, self._old_weight = self._young, self._young_weight
            self._young, self._young_weight = {}, 0
        self._young.update(entries)
        self._young_weight += weight

    def _fill_from_old(self, keys: Sequence[K], values: list[V | None]) -> None:
        """Put into `values` what the older generation has, and keep it in the younger one."""
        found = list(map(self._old.get, keys))
        used = {key: value for key, value in zip(keys, found, strict=True) if value is not None}
        if used:
            values[:] = [new if new is not None else old for new, old in zip(values, found, strict=True)]
            self.put_many(used, sum(map(self._weigh, used.values())))
