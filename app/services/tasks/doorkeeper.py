"""A doorkeeper as in TinyLFU: a table of fixed size that recognises keys seen before."""

from collections.abc import Sequence

PLACES = 1 << 16
"""One byte each: about as many of the latest keys are remembered, and one in 255 new ones is taken for known."""


class Doorkeeper:
    """Remembers which keys came lately, each by eight bits of its hash, until another takes its place."""

    def __init__(self) -> None:
        self._marks = bytearray(PLACES)

    def knows(self, keys: Sequence[str]) -> list[bool]:
        """Return for each key, in order, whether it came before; from now on all of them have."""
        marks, known = self._marks, []
        for key in keys:
            hashed = hash(key)
            place, mark = hashed & (PLACES - 1), (hashed >> 16) % 255 + 1  # 0 stands for none
            known.append(marks[place] == mark)
            marks[place] = mark
        return known
