"""What replicas agree on: who holds something, who waits for what, and what just happened.

Every method raises StoreUnavailable where the agreement cannot be had in time. Times to live are in seconds.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol, Self


class Leases(Protocol):
    """Values that one replica puts and all see, each for its time; compare-and-set decides between them."""

    async def get(self, key: str) -> bytes | None:
        """Return what is there, or None."""
        ...

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        """Put `value` where there is none and return None; else leave and return what is there."""
        ...

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        """Put `value` in the place of `expected`, and return whether that was still there."""
        ...

    async def remove(self, key: str, expected: bytes) -> None:
        """Remove the key if it still holds `expected`."""
        ...

    async def any_key(self, pattern: str) -> bool:
        """Return whether a key matches the glob `pattern`: looks through all keys, which may take seconds."""
        ...


class MemberSets(Protocol):
    """Sets that replicas add members to, each for its own time."""

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set, each for its own time; adding again renews it."""
        ...

    async def members(self, key: str, most: int) -> list[str]:
        """Return at most `most` members that are still in their time, the one that stays longest first."""
        ...


class EventKind(StrEnum):
    """What an event is about. Part of the message: a release ignores the kinds that it does not know."""

    TASKS = "tasks"
    PROBE = "probe"


class EventBus(Protocol):
    """Events that all replicas hear. Nothing is kept for those who do not listen now."""

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
