"""Tunes the garbage collector and malloc for a process that runs for weeks, once after all imports."""

import ctypes
import gc
import sys

COLLECT_AFTER = 10_000
"""Number of new objects that starts a collection: those of a few dozen requests, a few megabytes."""

OLDER_AFTER, OLDEST_AFTER = 5, 2
"""Generation 1 is collected after more than OLDER_AFTER collections of generation 0.

Generation 2 is collected after more than OLDEST_AFTER collections of generation 1. The objects of a long poll
reach generation 2. With the default of 10 and 10, a million such objects may accumulate.
"""

MAPPED_FROM_BYTES = 128 * 1024
"""Buffers of this size or more get their own memory mapping, which is returned to the system when they are freed.

128 KB is glibc's initial value. The size must be below the 256 KB of uvloop's read buffers, because buffers within
the heap keep the heap from shrinking.
"""

MAX_ARENAS = 2
"""Limit of malloc's heaps. Otherwise each thread, such as that of a connection to SQLite, would get its own heap."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""


def tune_process() -> None:
    """Tune the garbage collector, and malloc on Linux."""
    _collect_less_often()
    if sys.platform == "linux":
        _return_freed_memory()


def _collect_less_often() -> None:
    """Exempt the objects that imports created from garbage collection, and collect the others less often.

    The SDK creates reference cycles in every request, and with Python's defaults the collector would run several times
    in each. A full collection waits until new objects are a quarter of those that survived the last full collection.
    After `freeze`, hardly any object survives the second collection, so the next full collection is not delayed.
    """
    gc.collect()
    gc.freeze()
    gc.collect()
    gc.set_threshold(COLLECT_AFTER, OLDER_AFTER, OLDEST_AFTER)


def _return_freed_memory() -> None:
    """Fix glibc's thresholds, which it would raise to the size of the largest buffer that was ever freed.

    Otherwise a process would keep the memory of a few oversized backend responses until it ends.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:  # musl has none, and needs none
        mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(_M_TRIM_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(_M_ARENA_MAX, MAX_ARENAS)
