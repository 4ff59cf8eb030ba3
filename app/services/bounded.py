"""A dict that cannot grow without end."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(OrderedDict[K, V]):
    """Holds at most so many entries: the first makes room, by when they came or were last used."""

    def __init__(self, most: int) -> None:
        """Start empty, with room for `most`."""
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        """Keep `value`."""
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)

    def used(self, keys: Iterable[K]) -> None:
        """Put the entries of `keys`, which must be here, behind the others; not while there is plenty of room."""
        if len(self) * 2 > self._most:
            for key in keys:
                self.move_to_end(key)
