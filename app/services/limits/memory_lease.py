"""A lease on the memory of one request, shared with work that continues after its caller disconnects."""

from collections.abc import Callable
from contextvars import ContextVar


class MemoryLease:
    """A reference-counted lease. It is released once, when its last user ends. Later users hold nothing."""

    def __init__(self, on_last_end: Callable[[], None]) -> None:
        """Start with one user. `on_last_end` is called when the last user ends."""
        self._on_last_end = on_last_end
        self._users = 1

    def keep(self) -> None:
        """Add a user."""
        self._users += 1

    def end(self) -> None:
        """Remove a user."""
        self._users -= 1
        if self._users == 0:
            on_last_end, self._on_last_end = self._on_last_end, _nothing
            on_last_end()


def _nothing() -> None:
    return None


MEMORY_LEASE: ContextVar[MemoryLease | None] = ContextVar("luma_mcp_memory_lease", default=None)
"""The lease of the current request; None if memory is not counted, as over stdio."""
