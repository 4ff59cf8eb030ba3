"""What each idempotency key stands for: in the store that replicas share, and in the memory of each of them besides.

A store that has lost its memory, restarted empty or failed over, would let a key buy again; and one that was out when
an outcome was to be written down would never learn of it. So each word on a key is remembered and told to all replicas
from the first byte sent on, prevails over the word that it took the place of, and is written until the store takes it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from app.domain.reservation import KEPT_SECONDS
from app.ports import Coordination, StoreUnavailable
from app.services.bounded import Bounded

MOST_REMEMBERED = 10_000
"""Keys that each process remembers, about 1 KB each; the store holds all of them."""

WRITE_AGAIN_SECONDS = 1.0
MOST_WRITES = 3_600
"""How often, and how many times, an outcome is written that the store does not take: for an hour."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A word on a key, as replicas tell it to each other: it took the place of `before`, and counts until then.

    `value` None frees the key; `until` is in unix seconds.
    """

    reservation_key: str
    before: str
    value: str | None
    until: float

    def prevails_over(self, there: bytes | None) -> bool:
        """Whether a store that holds `there` has forgotten this word, or has not heard it yet."""
        return there is None or there == self.before.encode()


_ENTRY = TypeAdapter(Entry)


class Ledger:
    """Keeps one value for each key, for a day."""

    def __init__(
        self,
        coordination: Coordination,
        wall_clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Keep values through `coordination`; `wall_clock` gives unix seconds."""
        self._coordination = coordination
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._remembered: Bounded[str, Entry] = Bounded(MOST_REMEMBERED)
        self._writing: set[asyncio.Task[None]] = set()
        coordination.subscribe(self._hear)

    async def reserve(self, key: str, value: bytes) -> bytes | None:
        """Put `value` where the key is free and return None; else what it stands for. Raises StoreUnavailable."""
        there = await self._coordination.put_if_absent(key, value, KEPT_SECONDS)
        known = self._recall(key)
        if known is None or not known.prevails_over(there):
            return there
        prevailing = value if known.value is None else known.value.encode()
        held = value if there is None else there
        if prevailing != held:
            log.warning("The store does not know what became of a purchase that this replica remembers: it is told")
            await self._coordination.replace(key, held, prevailing, known.until - self._wall_clock())
        return None if known.value is None else prevailing

    async def take(self, key: str, expected: bytes, value: bytes) -> bool:
        """Put `value` in the place of `expected`, without a word to the others; return whether that worked.

        Raises StoreUnavailable.
        """
        return await self._coordination.replace(key, expected, value, KEPT_SECONDS)

    async def advance(self, key: str, expected: bytes, value: bytes) -> bool:
        """Put `value` in the place of `expected`, and tell it if that worked. Raises StoreUnavailable."""
        if not await self.take(key, expected, value):
            return False
        await self._tell(self._remember(self._entry(key, expected, value)))
        return True

    async def settle(self, key: str, expected: bytes, value: bytes | None) -> None:
        """Put the last word in the place of `expected`, now or as soon as the store takes it; None frees the key."""
        entry = self._remember(self._entry(key, expected, value))
        try:
            await self._write(entry)
        except StoreUnavailable as fault:
            log.warning("The outcome of a purchase cannot be written down now (%s): it is tried again", fault)
            writing = asyncio.get_running_loop().create_task(self._write_until_taken(entry))
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)

    async def aclose(self) -> None:
        """Give up what the store has not taken yet: its keys stay as they were sent, and so are refused."""
        for writing in self._writing:
            writing.cancel()
        if self._writing:
            await asyncio.wait(self._writing)

    async def _write_until_taken(self, entry: Entry) -> None:
        for _ in range(MOST_WRITES):
            await self._sleep(WRITE_AGAIN_SECONDS)
            try:
                await self._write(entry)
            except StoreUnavailable:
                continue
            return

    async def _write(self, entry: Entry) -> None:
        """Write the last word on a key, also where the store has forgotten what it takes the place of."""
        key, before, ttl_seconds = entry.reservation_key, entry.before.encode(), entry.until - self._wall_clock()
        if entry.value is None:
            await self._coordination.remove(key, before)
        elif not await self._coordination.replace(key, before, entry.value.encode(), ttl_seconds):
            await self._coordination.put_if_absent(key, entry.value.encode(), ttl_seconds)
        await self._tell(entry)

    async def _tell(self, entry: Entry) -> None:
        """Tell the other replicas; one that does not hear of it has the store."""
        try:
            await self._coordination.publish(_ENTRY.dump_json(entry))
        except StoreUnavailable:
            log.info("The other replicas could not be told of a purchase")

    def _hear(self, message: bytes) -> None:
        try:
            self._remember(_ENTRY.validate_json(message))
        except ValidationError:  # a message about something else
            return

    def _entry(self, key: str, before: bytes, value: bytes | None) -> Entry:
        until = self._wall_clock() + KEPT_SECONDS
        return Entry(key, before.decode(), None if value is None else value.decode(), until)

    def _remember(self, entry: Entry) -> Entry:
        """Keep the word, unless it is one that comes late: what it says has been followed by another."""
        known = self._remembered.get(entry.reservation_key)
        if known is None or known.before != entry.value:
            self._remembered[entry.reservation_key] = entry
        return entry

    def _recall(self, key: str) -> Entry | None:
        known = self._remembered.get(key)
        return known if known is not None and known.until > self._wall_clock() else None
