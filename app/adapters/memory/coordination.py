"""Coordination within a single process."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Self

from cachetools import TLRUCache

from app.ports.coordination import EventKind
from app.ports.store import StoreRefuses

MOST_KEYS = 10_000
MOST_MEMBERS = 1_000
SETS_BYTES = 8 * 1024 * 1024
SET_BYTES, MEMBER_BYTES = 400, 150
"""About what a set and one of its members cost beside the text itself."""


class MemoryCoordination:
    """The Coordination of a process that runs alone; bounded, and gone when the process is."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Reckon with `clock`, which counts seconds and never goes back."""
        self._clock = clock
        self._held: TLRUCache[str, tuple[bytes, float]] = TLRUCache(
            MOST_KEYS, ttu=lambda _key, held, _now: held[1], timer=clock
        )  # values, each with the end of its time
        self._sets: TLRUCache[str, dict[str, float]] = TLRUCache(
            SETS_BYTES,
            ttu=lambda _key, members, _now: max(members.values(), default=0.0),
            timer=clock,
            getsizeof=lambda members: SET_BYTES + sum(MEMBER_BYTES + len(member.encode()) for member in members),
        )  # each with its members and the ends of their times
        self._listeners: dict[object, tuple[EventKind, Callable[[bytes], None]]] = {}

    @property
    def keys_held(self) -> int:
        """How many keys are held now, each for its time."""
        self._held.expire()
        return len(self._held)

    async def __aenter__(self) -> Self:
        """Begin: nothing has to be listened to from outside."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Forget everything."""
        await self.aclose()

    async def aclose(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._sets.clear()
        self._listeners.clear()

    async def get(self, key: str) -> bytes | None:
        """Return what is there, or None."""
        held = self._held.get(key)
        return held[0] if held is not None else None

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        """Put `value` where there is none and return None; else return what is there.

        Raises StoreRefuses while as many keys are held as there is room for.
        """
        held = self._held.get(key)
        if held is not None:
            return held[0]
        self._held.expire()
        if len(self._held) >= MOST_KEYS:
            raise StoreRefuses("full")  # to forget an idempotency key could buy a second video
        self._held[key] = (value, self._clock() + ttl_seconds)
        return None

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        """Put `value` in the place of `expected`, and return whether that was still there."""
        held = self._held.get(key)
        if held is None or held[0] != expected:
            return False
        self._held[key] = (value, self._clock() + ttl_seconds)
        return True

    async def remove(self, key: str, expected: bytes) -> None:
        """Remove the key if it still holds `expected`."""
        held = self._held.get(key)
        if held is not None and held[0] == expected:
            del self._held[key]

    async def any_key(self, pattern: str) -> bool:
        """Return whether a key matches `pattern`."""
        return any(fnmatchcase(key, pattern) for key in self._held)

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set; the ones that leave soonest give way when it is full."""
        until = self._clock() + ttl_seconds
        kept = self._current(key) | dict.fromkeys(members, until)
        longest = sorted(kept, key=kept.__getitem__, reverse=True)[:MOST_MEMBERS]
        self._sets[key] = {member: kept[member] for member in longest}

    async def members(self, key: str, most: int) -> list[str]:
        """Return the members that are still in their time, the one that stays longest first."""
        current = self._current(key)
        return sorted(current, key=current.__getitem__, reverse=True)[:most]

    async def publish(self, kind: EventKind, message: bytes) -> None:
        """Tell every listener in this process, which is the only one."""
        for wanted, listener in list(self._listeners.values()):
            if wanted is kind:
                listener(message)

    def subscribe(self, kind: EventKind, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `listener` with every message of the kind until the returned function is called."""
        token = object()
        self._listeners[token] = (kind, listener)
        return lambda: self._listeners.pop(token, None) and None

    @property
    def sets_bytes(self) -> int:
        """About how much the sets take."""
        self._sets.expire()
        return int(self._sets.currsize)

    def _current(self, key: str) -> dict[str, float]:
        now = self._clock()
        return {member: until for member, until in self._sets.get(key, {}).items() if until > now}
