"""A dict with a weight limit that evicts the least recently used entries."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruDict(OrderedDict[K, V]):
    """Holds entries up to a total weight, and evicts the least recently used ones.

    Attributes:
        weight: the weight of all entries.

    """

    def __init__(self, most: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        """Start empty, with room for the weight `most`.

        `weigh` returns the weight of a value, the same each time it is asked; by default each entry weighs 1.
        """
        super().__init__()
        self._most = most
        self._weigh = weigh
        self.weight = 0

    def __setitem__(self, key: K, value: V) -> None:
        """Store `value`, unless it alone exceeds the limit."""
        if key in self:
            del self[key]
        self.weight += self._weigh(value)
        super().__setitem__(key, value)
        while self.weight > self._most:
            del self[next(iter(self))]

    def __delitem__(self, key: K) -> None:
        """Remove an entry. Raises KeyError if there is none."""
        self.weight -= self._weigh(self[key])
        super().__delitem__(key)

    def discard(self, key: K) -> None:
        """Remove an entry, if there is one."""
        if key in self:
            del self[key]

    def touch(self, keys: Iterable[K]) -> None:
        """Mark the entries of `keys`, which must exist, as recently used. Skipped up to half of the weight limit."""
        if self.weight * 2 > self._most:
            for key in keys:
                self.move_to_end(key)
