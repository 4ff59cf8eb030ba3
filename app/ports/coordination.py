"""Coordination of replicas: leases, member sets and events.

Every method raises StoreUnavailable if the store does not answer in time. Times to live are in seconds.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol, Self


class Leases(Protocol):
    """Values with a time to live, shared by all replicas. Concurrent writers use compare-and-set."""

    async def get(self, key: str) -> bytes | None:
        """Return the value; None if there is none."""
        ...

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        """Store `value` and return None if the key has no value; else return its current value."""
        ...

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        """Replace `expected` with `value` if `expected` is the current value, and return whether it was."""
        ...

    async def remove(self, key: str, expected: bytes) -> None:
        """Remove the key if it still holds `expected`."""
        ...

    async def any_key(self, pattern: str) -> bool:
        """Return whether any key matches the glob `pattern`. This scans all keys, which may take seconds."""
        ...


class MemberSets(Protocol):
    """Sets in which each member has its own time to live."""

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set. Adding a member again renews its time to live."""
        ...

    async def members(self, key: str, limit: int) -> list[str]:
        """Return at most `limit` members that have not expired. Those that expire last come first."""
        ...


class EventKind(StrEnum):
    """The kind of an event. It is part of the message; an older release ignores kinds that it does not know."""

    TASKS = "tasks"
    PROBE = "probe"


class EventBus(Protocol):
    """Publishes events to all connected replicas. Events are not stored, so a disconnected replica misses them."""

    async def publish(self, kind: EventKind, message: bytes) -> None:
        """Send the message to all subscribers of its kind in all processes, including this one."""
        ...

    def subscribe(self, kind: EventKind, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `listener` with each later message of this kind, and return a function that unsubscribes it.

        `listener` must not raise or block.
        """
        ...


class Coordination(Leases, MemberSets, EventBus, Protocol):
    """Leases, member sets and events over one connection, which is open inside `async with`."""

    async def __aenter__(self) -> Self:
        """Start to listen for events."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Stop listening."""
        ...
