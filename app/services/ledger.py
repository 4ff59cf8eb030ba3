"""What each idempotency key stands for: in the store that replicas share, and in the memory of each of them besides.

A store that has lost its memory, restarted empty or failed over, would let a key buy again. So each change from the
first byte sent on is told to all replicas, and what they remember is put back where the store has nothing.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from app.domain.reservation import KEPT_SECONDS
from app.ports import Coordination, StoreUnavailable
from app.services.bounded import Bounded

MOST_REMEMBERED = 10_000
"""Keys that each process remembers, about 0.5 KB each; the store holds all of them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one replica tells the others: the value that a key has until then (unix seconds); None frees the key."""

    reservation_key: str
    value: str | None
    until: float


_ENTRY = TypeAdapter(Entry)


class Ledger:
    """Keeps one value for each key, for a day. Every method raises StoreUnavailable where the store does not answer."""

    def __init__(self, coordination: Coordination, wall_clock: Callable[[], float]) -> None:
        """Keep values through `coordination`; `wall_clock` gives unix seconds."""
        self._coordination = coordination
        self._wall_clock = wall_clock
        self._remembered: Bounded[str, Entry] = Bounded(MOST_REMEMBERED)
        coordination.subscribe(self._hear)

    async def reserve(self, key: str, value: bytes) -> bytes | None:
        """Put `value` where nothing is known of the key and return None; else return what the key stands for."""
        there = await self._coordination.put_if_absent(key, value, KEPT_SECONDS)
        if there is not None or (known := self._recall(key)) is None:
            return there
        log.warning("The store has forgotten a purchase that this replica remembers: it is put back")
        remembered = str(known.value).encode()
        await self._coordination.replace(key, value, remembered, known.until - self._wall_clock())
        return remembered

    async def take(self, key: str, expected: bytes, value: bytes) -> bool:
        """Put `value` in the place of `expected`, without a word to the others; return whether that worked."""
        return await self._coordination.replace(key, expected, value, KEPT_SECONDS)

    async def advance(self, key: str, expected: bytes, value: bytes) -> bool:
        """Put `value` in the place of `expected`, and tell it if that worked."""
        if not await self.take(key, expected, value):
            return False
        await self._tell(key, value)
        return True

    async def settle(self, key: str, expected: bytes, value: bytes) -> None:
        """Put the last word on a key in the place of `expected`, also where the store has forgotten that."""
        await self._tell(key, value)
        if not await self.take(key, expected, value):
            await self._coordination.put_if_absent(key, value, KEPT_SECONDS)

    async def free(self, key: str, expected: bytes) -> None:
        """Let the key be used anew, if it still stands for `expected`."""
        await self._tell(key, None)
        await self._coordination.remove(key, expected)

    async def _tell(self, key: str, value: bytes | None) -> None:
        """Remember the value, here and on every replica that hears of it; one that does not has the store."""
        entry = Entry(key, None if value is None else value.decode(), self._wall_clock() + KEPT_SECONDS)
        self._remember(entry)
        try:
            await self._coordination.publish(_ENTRY.dump_json(entry))
        except StoreUnavailable:
            log.info("The other replicas could not be told of a purchase")

    def _hear(self, message: bytes) -> None:
        try:
            self._remember(_ENTRY.validate_json(message))
        except ValidationError:  # a message about something else
            return

    def _remember(self, entry: Entry) -> None:
        if entry.value is None:
            self._remembered.pop(entry.reservation_key, None)
        else:
            self._remembered[entry.reservation_key] = entry

    def _recall(self, key: str) -> Entry | None:
        known = self._remembered.get(key)
        return known if known is not None and known.until > self._wall_clock() else None
