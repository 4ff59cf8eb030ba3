"""What replicas agree on."""

from collections.abc import Callable, Sequence
from typing import Protocol


class Coordination(Protocol):
    """What replicas agree on: who holds something, who waits for what, and what just happened.

    Every method raises StoreUnavailable where the agreement cannot be had in time. Times to live are in seconds.
    """

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

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set, each for its own time; adding again renews it."""
        ...

    async def members(self, key: str, most: int) -> list[str]:
        """Return at most `most` members that are still in their time, the one that stays longest first."""
        ...

    async def publish(self, message: bytes) -> None:
        """Tell every process that listens, this one too. Nothing is kept for those who do not listen now."""
        ...

    def subscribe(self, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `listener` with every message from now on, and return what ends that. It must not raise or wait."""
        ...
