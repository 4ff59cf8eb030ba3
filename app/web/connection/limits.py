"""Limits of connections. The application passes them to the HTTP protocol in the lifespan state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from app.services.limits.memory_budget import MemoryBudget

CONNECTION_LIMITS = "luma_mcp.connection_limits"
"""Key of the ConnectionLimits in the lifespan state."""


class IdleKind(IntEnum):
    """Why a connection may be closed in favour of a new one, in order of preference."""

    ANSWERED = 0
    """Its request is answered or refused, and its client has not sent all of it yet."""
    HALF_BODY_OF_NOBODY = 1
    """A part of a body has come, of a request without a token."""
    NO_REQUEST = 2
    """No whole head of a request has come."""
    UNREAD_ANSWER = 3
    """Its request is answered, and its client has not taken all of the answer yet."""
    HALF_BODY = 4
    """A part of a body has come, of a request with a token."""


class Idle(Protocol):
    """A connection that waits for its client."""

    def make_room(self) -> None:
        """End it."""


class IdleConnections:
    """The connections that wait for their clients; of each kind the one that waits longest makes room first."""

    def __init__(self) -> None:
        """Hold none."""
        self._kinds: tuple[dict[Idle, None], ...] = tuple({} for _ in IdleKind)

    def move(self, connection: Idle, before: IdleKind | None, now: IdleKind | None) -> None:
        """Note that a connection waits for something else than before, or for nothing (None)."""
        if before is not None:
            self._kinds[before].pop(connection, None)
        if now is not None:
            self._kinds[now][connection] = None

    def make_room(self) -> bool:
        """End one connection; return whether there was any."""
        for kind in self._kinds:
            longest = next(iter(kind), None)
            if longest is not None:
                del kind[longest]
                longest.make_room()
                return True
        return False


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
    memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(32 * 1024 * 1024))
