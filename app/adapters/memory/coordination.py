"""Coordination within a single process: leases, member sets and events."""

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Self

from cachetools import TLRUCache

from app.ports.coordination import EventKind
from app.ports.store import StoreRefuses

MAX_KEYS = 10_000
"""Maximum number of keys with a value. Sets are counted separately."""

MAX_MEMBERS = 1_000
"""Maximum number of members of one set."""

MAX_SETS_BYTES = 8 * 1024 * 1024
"""Memory limit for all sets together, by the estimates below."""

SET_OVERHEAD_BYTES, MEMBER_OVERHEAD_BYTES = 400, 150
"""Estimated memory of a set and of a member, without the member's text."""


class MemoryCoordination:
    """The Coordination of a single process. Its memory is bounded, and its contents end with the process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure times to live with `clock`, a monotonic clock in seconds."""
        self._clock = clock
        self._entries: TLRUCache[str, tuple[bytes, float]] = TLRUCache(
            MAX_KEYS, ttu=lambda _key, entry, _now: entry[1], timer=clock
        )  # by key: value and expiry
        self._sets: TLRUCache[str, dict[str, float]] = TLRUCache(
            MAX_SETS_BYTES,
            ttu=lambda _key, members, _now: max(members.values(), default=0.0),
            timer=clock,
            getsizeof=_estimated_bytes,
        )  # by key: members and their expiry
        self._listeners: dict[object, tuple[EventKind, Callable[[bytes], None]]] = {}

    async def __aenter__(self) -> Self:
        """Do nothing: there is no connection to open."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Drop all keys, sets and listeners."""
        await self.aclose()

    async def aclose(self) -> None:
        """Drop all keys, sets and listeners."""
        self._entries.clear()
        self._sets.clear()
        self._listeners.clear()

    async def get(self, key: str) -> bytes | None:
        """Return the value; None if there is none."""
        entry = self._entries.get(key)
        return entry[0] if entry is not None else None

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        """Store `value` if there is none and return None; else return the current value.

        Raises StoreRefuses if there are already MAX_KEYS keys.
        """
        entry = self._entries.get(key)
        if entry is not None:
            return entry[0]
        self._entries.expire()
        if len(self._entries) >= MAX_KEYS:
            raise StoreRefuses("full")  # refuse rather than evict: an evicted lease would have two holders
        self._entries[key] = (value, self._clock() + ttl_seconds)
        return None

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        """Replace `expected` by `value`, and return whether `expected` was still there."""
        entry = self._entries.get(key)
        if entry is None or entry[0] != expected:
            return False
        self._entries[key] = (value, self._clock() + ttl_seconds)
        return True

    async def remove(self, key: str, expected: bytes) -> None:
        """Remove the key if it still holds `expected`."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] == expected:
            del self._entries[key]

    async def any_key(self, pattern: str) -> bool:
        """Return whether a key matches the glob `pattern`."""
        return any(fnmatchcase(key, pattern) for key in self._entries)

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set. Above MAX_MEMBERS, those that expire first are removed."""
        expiry = self._clock() + ttl_seconds
        expiries = self._unexpired(key) | dict.fromkeys(members, expiry)
        last_to_expire = sorted(expiries, key=expiries.__getitem__, reverse=True)[:MAX_MEMBERS]
        self._sets[key] = {member: expiries[member] for member in last_to_expire}

    async def members(self, key: str, limit: int) -> list[str]:
        """Return at most `limit` members that have not expired, sorted by expiry, the latest first."""
        expiries = self._unexpired(key)
        return sorted(expiries, key=expiries.__getitem__, reverse=True)[:limit]

    async def publish(self, kind: EventKind, message: bytes) -> None:
        """Call every listener for `kind` in this process."""
        for listened_kind, listener in list(self._listeners.values()):
            if listened_kind is kind:
                listener(message)

    def subscribe(self, kind: EventKind, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `listener` with each message of `kind` until the returned function is called."""
        subscription = object()
        self._listeners[subscription] = (kind, listener)
        return lambda: self._listeners.pop(subscription, None) and None

    @property
    def sets_bytes(self) -> int:
        """Estimated memory of all sets in bytes."""
        self._sets.expire()
        return int(self._sets.currsize)

    def _unexpired(self, key: str) -> dict[str, float]:
        """Return the members of a set that have not expired, with their expiries."""
        now = self._clock()
        return {member: expiry for member, expiry in self._sets.get(key, {}).items() if expiry > now}


def _estimated_bytes(members: Iterable[str]) -> int:
    return SET_OVERHEAD_BYTES + sum(MEMBER_OVERHEAD_BYTES + len(member.encode()) for member in members)
