"""The limits of one connection, which the application hands to the HTTP protocol in its lifespan state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

CONNECTION_LIMITS = "luma_mcp.connection_limits"
"""Where the lifespan state carries the ConnectionLimits."""

WRITE_BUFFER_BYTES = 24 * 1024
"""What waits in memory for a client that does not read before its answers stop; a batch of 50 tasks fits."""


MOST_UNFINISHED_BYTES = 32 * 1024 * 1024
"""Of the heads of requests that have not come to their end, on all connections of a process."""


class Idle(Protocol):
    """A connection on which no request is under way."""

    def make_room(self) -> None:
        """End it."""


class IdleConnections:
    """The connections without a whole head of a request; the one that waits longest makes room first."""

    def __init__(self) -> None:
        """Hold none."""
        self._head_bytes: dict[Idle, int] = {}
        self._total_bytes = 0

    def enter(self, connection: Idle) -> None:
        """Note that a connection has no request under way."""
        self._head_bytes.setdefault(connection, 0)

    def leave(self, connection: Idle) -> None:
        """Note that a request has come, or that the connection has ended."""
        self._total_bytes -= self._head_bytes.pop(connection, 0)

    def hold(self, connection: Idle, head_bytes: int) -> None:
        """Note how much there is of an unfinished head; where that is too much in all, others make room."""
        if connection in self._head_bytes:
            self._total_bytes += head_bytes - self._head_bytes[connection]
            self._head_bytes[connection] = head_bytes
            while self._total_bytes > MOST_UNFINISHED_BYTES:
                self.make_room()

    def make_room(self) -> bool:
        """End the connection that has been idle for longest; return whether there was any."""
        longest = next(iter(self._head_bytes), None)
        if longest is None:
            return False
        self.leave(longest)
        longest.make_room()
        return True


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Times in seconds; `connections` is per process, and `refused` is told the status of each refusal."""

    keep_alive: float = 75.0
    head: float = 15.0
    body: float = 30.0
    write: float = 30.0
    connections: int = 4000
    refused: Callable[[int], None] = lambda _status: None
    idle: IdleConnections = field(default_factory=IdleConnections)
