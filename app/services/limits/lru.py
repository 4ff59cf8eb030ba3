"""A dict that cannot grow without end."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruDict(OrderedDict[K, V]):
    """Holds entries up to a total weight: the first makes room, by when they came or were last used.

    `weight` is of all entries together, however they come and leave.
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
        """Keep `value`; one that is heavier than everything may weigh takes no place."""
        if key in self:
            del self[key]
        self.weight += self._weigh(value)
        super().__setitem__(key, value)
        while self.weight > self._most:
            del self[next(iter(self))]

    def __delitem__(self, key: K) -> None:
        """Forget an entry. Raises KeyError where it is not there."""
        self.weight -= self._weigh(self[key])
        super().__delitem__(key)

    def discard(self, key: K) -> None:
        """Forget an entry, if it is there."""
        if key in self:
            del self[key]

    def touch(self, keys: Iterable[K]) -> None:
        """Put the entries of `keys`, which must be here, behind the others; not while there is plenty of room."""
        if self.weight * 2 > self._most:
            for key in keys:
                self.move_to_end(key)
