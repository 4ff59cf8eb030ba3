"""A lease on the memory of one request, shared with work that continues after its caller disconnects."""

from collections.abc import Callable
from contextvars import ContextVar


class MemoryLease:
    """A reference-counted lease. It is released when its last user ends."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        """Start with one user. `give_back` is called when the last user ends."""
        self._give_back = give_back
        self._users = 1

    def keep(self) -> None:
        """Add a user."""
        self._users += 1

    def end(self) -> None:
        """Remove a user."""
        self._users -= 1
        if self._users == 0:
            self._give_back()


MEMORY_LEASE: ContextVar[MemoryLease | None] = ContextVar("luma_mcp_memory_lease", default=None)
"""The lease of the current request; None where memory is not counted, as over stdio."""
