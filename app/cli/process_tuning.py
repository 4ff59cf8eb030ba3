"""Tunes the garbage collector and malloc for a process that serves for weeks. Applied once, after all imports."""

import ctypes
import gc
import sys

COLLECT_AFTER = 10_000
"""Young objects that start a collection: the work of a few dozen requests, a few megabytes."""

OLDER_AFTER, OLDEST_AFTER = 5, 2
"""Generation 1 is collected with every fifth collection of generation 0, generation 2 with every second of those.

The objects of a long poll reach generation 2. With the default of 10 and 10, a million such objects may accumulate.
"""

MAPPED_FROM_BYTES = 128 * 1024
"""Buffers from this size on get a mapping of their own, which is returned to the system when they are freed.

128 KB is where glibc begins. It has to stay below the 256 KB of uvloop's read buffers: within the heap, they would keep
it from shrinking.
"""

MOST_ARENAS = 2
"""Heaps of malloc. Each thread, such as that of a connection to SQLite, would otherwise get a heap of its own."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""


def tune_process() -> None:
    """Tune the garbage collector, and malloc on Linux."""
    _collect_seldom()
    if sys.platform == "linux":
        _return_freed_memory()


def _collect_seldom() -> None:
    """Exempt the objects that imports have made, and collect the others less often.

    The SDK creates reference cycles in every request; by default the collector would run several times in one. A full
    collection waits until the new objects are a quarter of those that survived the last one. After `freeze` hardly any
    survive, so the second call here lets the next full collection come in time.
    """
    gc.collect()
    gc.freeze()
    gc.collect()
    gc.set_threshold(COLLECT_AFTER, OLDER_AFTER, OLDEST_AFTER)


def _return_freed_memory() -> None:
    """Fix glibc's thresholds, which it would raise to the size of the largest buffer that was ever freed.

    Without this, a process would keep the memory of a few oversized answers of the backend until it ends.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:  # musl has none, and needs none
        mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(_M_TRIM_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(_M_ARENA_MAX, MOST_ARENAS)
