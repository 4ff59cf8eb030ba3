"""A doorkeeper as in TinyLFU (Einziger et al., 2017): a table of fixed size that recognises keys seen before."""

from collections.abc import Sequence

PLACES = 1 << 16
"""Size of the table, one byte a place. About one in 255 new keys is mistaken for a known one."""


class Doorkeeper:
    """Recognises keys seen recently. Each key overwrites one place of the table with eight bits of its hash."""

    def __init__(self) -> None:
        self._marks = bytearray(PLACES)

    def knows(self, keys: Sequence[str]) -> list[bool]:
        """Return for each key, in order, whether it was seen before, and mark all of them as seen."""
        marks, known = self._marks, []
        for key in keys:
            hashed = hash(key)
            place, mark = hashed & (PLACES - 1), (hashed >> 16) % 255 + 1  # 0 means empty
            known.append(marks[place] == mark)
            marks[place] = mark
        return known
