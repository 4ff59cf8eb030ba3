"""Coordination of replicas: leases, member sets and events.

Every method raises StoreUnavailable if the store does not answer in time. Times to live are in seconds.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol, Self


class Leases(Protocol):
    """Values with a time to live, shared by all replicas. Compare-and-set decides between writers."""

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        ...

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        """Store `value` if there is none and return None; else return the current value."""
        ...

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        """Replace `expected` by `value`, and return whether `expected` was still there."""
        ...

    async def remove(self, key: str, expected: bytes) -> None:
        """Remove the key if it still holds `expected`."""
        ...

    async def any_key(self, pattern: str) -> bool:
        """Return whether a key matches the glob `pattern`: looks through all keys, which may take seconds."""
        ...


class MemberSets(Protocol):
    """Sets whose members have a time to live each."""

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set, each for its own time; adding again renews it."""
        ...

    async def members(self, key: str, most: int) -> list[str]:
        """Return at most `most` members that are still in their time, the one that stays longest first."""
        ...


class EventKind(StrEnum):
    """The kind of an event. It is part of the message: a release ignores unknown kinds."""

    TASKS = "tasks"
    PROBE = "probe"


class EventBus(Protocol):
    """Publishes events to all replicas that are connected. Events are not stored."""

    async def publish(self, kind: EventKind, message: bytes) -> None:
        """Send the message to every process that listens for its kind, this one too."""
        ...

    def subscribe(self, kind: EventKind, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `listener` with each message of the kind from now on, and return a function that ends that.

        `listener` must not raise or wait.
        """
        ...


class Coordination(Leases, MemberSets, EventBus, Protocol):
    """All three over one connection, which is held while entered."""

    async def __aenter__(self) -> Self:
        """Begin to listen for events."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Stop listening."""
        ...
