"""The limits of one connection, which the application hands to the HTTP protocol in its lifespan state."""

from collections.abc import Callable
from dataclasses import dataclass

CONNECTION_LIMITS = "luma_mcp.connection_limits"
"""Where the lifespan state carries the ConnectionLimits."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Times in seconds; `connections` is per process, and `refused` is told the status of each refusal."""

    keep_alive: float = 75.0
    head: float = 15.0
    body: float = 30.0
    write: float = 30.0
    connections: int = 4000
    refused: Callable[[int], None] = lambda _status: None
