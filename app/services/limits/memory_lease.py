"""Memory that is lent to a request for as long as it is answered, and to the work that goes on without its caller."""

from collections.abc import Callable
from contextvars import ContextVar


class MemoryLease:
    """Is given back once, when the last of those who use it is done."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        """Begin with one user."""
        self._give_back = give_back
        self._users = 1

    def keep(self) -> None:
        """Count one more user."""
        self._users += 1

    def end(self) -> None:
        """Count one user less."""
        self._users -= 1
        if self._users == 0:
            self._give_back()


MEMORY_LEASE: ContextVar[MemoryLease | None] = ContextVar("luma_mcp_loan", default=None)
"""What is lent to the request that is being answered; None where nothing is counted, as over stdio."""
