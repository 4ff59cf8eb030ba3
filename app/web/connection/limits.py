"""Limits of connections. The application passes them to the uvicorn protocol class in the lifespan state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from starlette.types import Scope

from app.services.limits.memory_budget import MemoryBudget
from app.web.connection.read_shares import ReadShares

CONNECTION_LIMITS = "luma_mcp.connection_limits"
"""Key of the ConnectionLimits in the lifespan state."""


class IdleKind(IntEnum):
    """The state of a connection that waits for its client.

    If there are too many connections, those of the lowest value are closed first.
    """

    ANSWERED = 0
    """A response or refusal was sent before the whole request arrived, or reading is paused after a refusal."""
    PARTIAL_BODY_WITHOUT_TOKEN = 1
    """A part of a body has arrived. The request has no Authorization header."""
    NO_REQUEST = 2
    """No complete head of a request has arrived."""
    UNREAD_RESPONSE = 3
    """The response was sent, and the client has not read all of it."""
    PARTIAL_BODY = 4
    """A part of a body has arrived. The request has an Authorization header."""


class Idle(Protocol):
    """A connection that waits for its client."""

    def make_room(self) -> None:
        """Close the connection."""


class IdleConnections:
    """The connections that wait for their clients, by IdleKind, each in the order in which they began to wait."""

    def __init__(self) -> None:
        """Start without connections."""
        self._by_kind: tuple[dict[Idle, None], ...] = tuple({} for _ in IdleKind)

    def move(self, connection: Idle, before: IdleKind | None, now: IdleKind | None) -> None:
        """Move a connection from kind `before` to kind `now`. None: the connection does not wait for its client."""
        if before is not None:
            self._by_kind[before].pop(connection, None)
        if now is not None:
            self._by_kind[now][connection] = None

    def make_room(self) -> bool:
        """Close the connection of the lowest kind that has waited longest. Return whether there was one."""
        for connections in self._by_kind:
            longest_waiting = next(iter(connections), None)
            if longest_waiting is not None:
                del connections[longest_waiting]
                longest_waiting.make_room()
                return True
        return False


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of the connections of one process.

    Attributes:
        keep_alive: seconds for which an idle connection stays open.
        head: seconds within which the head of a request must arrive.
        body: seconds within which a whole request must arrive.
        write: seconds within which a client must read some of a response.
        connections: limit of open connections.
        on_refusal: receives the status of each refusal.
        idle: the connections that may be closed for new ones.
        memory: the memory budget of requests and connections.
        is_accepted: returns whether the backend has lately accepted the token of a request, given its ASGI scope.
        reads: divides the time for costly reads between the connections.
        accepted_reads: the same for reads of bodies whose request has an accepted token.

    """

    keep_alive: float = 75.0
    head: float = 15.0
    body: float = 30.0
    write: float = 30.0
    connections: int = 4000
    on_refusal: Callable[[int], None] = lambda _status: None
    idle: IdleConnections = field(default_factory=IdleConnections)
    memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(32 * 1024 * 1024))
    is_accepted: Callable[[Scope], bool] = lambda _scope: False
    reads: ReadShares = field(default_factory=ReadShares)
    accepted_reads: ReadShares = field(default_factory=ReadShares)
