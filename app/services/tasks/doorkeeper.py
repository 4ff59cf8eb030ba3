"""The doorkeeper of TinyLFU (Einziger et al., 2017): a probabilistic set of recently seen keys, of fixed size."""

from collections.abc import Sequence

SLOTS = 1 << 13
"""Size of the table, one byte per slot. About one in 255 new keys is taken for a known one.

A process caches some 5,000 tasks. A key that comes again after many more others is no longer known, and rightly so:
the others would have evicted its task by then.
"""


class Doorkeeper:
    """A set of recently seen keys. Each key overwrites one slot of a table with eight bits of its hash."""

    def __init__(self) -> None:
        self._marks = bytearray(SLOTS)

    def test_and_set(self, keys: Sequence[str]) -> list[bool]:
        """Return for each key, in order, whether it was seen before. Add all of them."""
        marks, known = self._marks, []
        for key in keys:
            hashed = hash(key)
            slot, mark = hashed & (SLOTS - 1), (hashed >> 16) % 255 + 1  # 0 means empty
            known.append(marks[slot] == mark)
            marks[slot] = mark
        return known
