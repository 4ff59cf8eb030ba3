"""Tunes the garbage collector and malloc for a process that serves for weeks. Applied once, after all imports."""

import ctypes
import gc
import sys

COLLECT_AFTER = 10_000
"""New objects between two looks of the garbage collector: the work of a few dozen requests, a few megabytes."""

OLDER_AFTER, OLDEST_AFTER = 5, 2
"""Looks at the new objects to one at older ones, and of those to one at all.

Objects of a long poll are old by then. With the default of 10 and 10, a million such objects may accumulate.
"""

MAPPED_FROM_BYTES = 128 * 1024
"""Buffers from this size on are mapped by themselves, and so given back when freed: what glibc itself begins with.

It has to stay below the 256 KB in which uvloop reads what comes fast: those would share the heap with what stays.
"""

MOST_ARENAS = 2
"""Heaps of glibc for threads: each connection to SQLite has a thread, and would keep a heap of its own."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""


def tune_process() -> None:
    """Tell the garbage collector and the allocator that the program stays, and that its work comes and goes."""
    _collect_seldom()
    if sys.platform == "linux":
        _give_back_what_is_freed()


def _collect_seldom() -> None:
    """Have the collector take the program for given, and look less often at what comes and goes.

    The SDK creates reference cycles in every request; by default the collector would run several times in one.
    The second collection finds nothing: the collector compares later ones with the last, and puts them off until then.
    """
    gc.collect()
    gc.freeze()
    gc.collect()
    gc.set_threshold(COLLECT_AFTER, OLDER_AFTER, OLDEST_AFTER)


def _give_back_what_is_freed() -> None:
    """Keep glibc from raising its thresholds to the largest buffer that was ever freed, as it does unless told a size.

    A few oversized answers of the backend would let the process hold their memory until it ends.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:  # musl has none, and needs none
        mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(_M_TRIM_THRESHOLD, MAPPED_FROM_BYTES)
