"""What each idempotency key stands for: in the store that replicas share, and in the memory of each of them besides.

A store that has lost its memory, restarted empty or failed over, would let a key buy again; and one that was out when
an outcome was to be written down would never learn of it. So each word on a key is remembered and told to all replicas
from the first byte sent on, prevails over earlier words wherever it meets them, and is written until the store has it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.domain.reservation import FREED_KEPT_SECONDS, KEPT_SECONDS, Reservation, ReservationState
from app.ports import Coordination, Signing, StoreRefuses, StoreUnavailable
from app.services.bounded import Bounded
from app.services.burst import Burst
from app.services.ledger_format import LedgerFormat, from_message, to_message, unmarked
from app.services.ledger_sync import LedgerSync

MOST_REMEMBERED = 10_000
"""Keys that each process remembers, about 1 KB each; the store holds all of them."""

WRITE_AGAIN_SECONDS = 1.0
MOST_WRITES = 3_600
"""How often, and how many times, an outcome is written that the store does not take: for an hour."""

MOST_CHANGES = 5
"""How often a key may change while a word is written; each change is by a call of its own."""

LAST_WRITE_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a key stands for, and the bytes that say so in the store."""

    word: Reservation
    kept: bytes


class Ledger:
    """Keeps the latest word on each key, for a day from when it was said; for minutes, if nothing was bought."""

    def __init__(  # noqa: PLR0913 - its store, its mark and its clocks
        self,
        coordination: Coordination,
        signing: Signing,
        wall_clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.monotonic,
        network_sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        freed_kept_seconds: float = FREED_KEPT_SECONDS,
    ) -> None:
        """Keep words through `coordination`, marked with `signing`; `wall_clock` gives unix seconds.

        `clock` counts seconds and never goes back; `network_sleep` keeps the time in which other replicas answer. A
        key under which nothing was bought is kept for `freed_kept_seconds`.
        """
        self._coordination = coordination
        self._format = LedgerFormat(signing)
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._freed_kept_seconds = freed_kept_seconds
        self._remembered: Bounded[str, Reservation] = Bounded(MOST_REMEMBERED)
        self._writing: dict[asyncio.Task[None], Reservation] = {}
        self._untaken, self._lost, self._forgotten, self._deaf = (Burst(clock) for _ in range(4))
        self._closing = False
        self._sync = LedgerSync(coordination, network_sleep, lambda: self._remembered, self._learn, self._write_back)
        coordination.subscribe(self._hear)

    async def reserve(self, mine: Reservation) -> Found | None:
        """Put `mine` where nothing is known of its key and return None; else what is known. Raises StoreUnavailable."""
        if self._recall(mine.filed_under) is None:
            await self._hear_the_others(mine.filed_under)
        known = self._recall(mine.filed_under)
        first = mine if known is None else known  # in one step: a store without memory never shows the key as free
        kept = await self._put_if_absent(first)
        if kept is None:
            return None if known is None else Found(known, self._format.pack(known))
        found = Found(self._format.unpack(mine.filed_under, kept), kept)
        if known is None or not known.prevails_over(found.word):
            return found
        _log_once(self._forgotten, "The store does not know what became of a purchase that this replica remembers")
        return Found(known, self._format.pack(known)) if await self.take(found, known) else found

    async def _hear_the_others(self, key: str) -> None:
        """Return once this replica knows what the others said while it did not hear them. Raises StoreUnavailable.

        Until then the store alone would be trusted, and it may have lost its memory since.
        """
        if not self._sync.is_up_to_date:
            await self._coordination.get(key)  # a store that is out says so at once
        if not await self._sync.has_heard_all():
            _log_once(
                self._deaf,
                "Redis answers, but its channel between replicas is broken: calls with an idempotency key are refused "
                "until it works. Let the connection, and a proxy before Redis, carry SUBSCRIBE and PUBLISH",
            )
            raise StoreUnavailable("the channel between replicas is broken")

    async def kept_by_earlier_release(self, key: str) -> Reservation | None:
        """Return the word under a key of an earlier release. Raises StoreUnavailable.

        A store whose ACL names the keys of this release alone refuses the question; then there is none.
        """
        try:
            kept = await self._coordination.get(key)
        except StoreRefuses as fault:
            if str(fault) == "NOPERM":
                return None
            raise
        return unmarked(key, kept) if kept is not None else None

    async def look(self, key: str) -> Reservation | None:
        """Return what is known of a key, without a word of one's own. Raises StoreUnavailable."""
        kept, known = await self._coordination.get(key), self._recall(key)
        found = self._format.unpack(key, kept) if kept is not None else None
        return known if found is None or (known is not None and known.prevails_over(found)) else found

    async def age_seconds(self, found: Reservation) -> float:
        """Return how long ago a word that the store holds was said. Raises StoreUnavailable.

        By the store's clock, where it can tell: those of two replicas may differ, and a wall clock may be set.
        """
        left = await self._coordination.seconds_left(found.filed_under)
        return KEPT_SECONDS - left if left is not None else self._wall_clock() - found.since

    async def take(self, found: Found, mine: Reservation) -> bool:
        """Put `mine` in the place of `found`, without a word to the others; return whether that worked.

        Raises StoreUnavailable.
        """
        key, ttl_seconds = mine.filed_under, self._ttl_seconds(mine)
        return await self._coordination.replace(key, found.kept, self._format.pack(mine), ttl_seconds)

    async def advance(self, before: Reservation, word: Reservation) -> bool:
        """Put `word` in the place of `before`, and tell it if that worked. Raises StoreUnavailable."""
        if not await self.take(Found(before, self._format.pack(before)), word):
            return False
        self._remember(word)
        await self._coordination.publish(to_message(word))
        return True

    async def settle(self, word: Reservation, *, leaves_key: bool = True) -> None:
        """Write down the outcome of a purchase: now, or as soon as the store takes it.

        Where nothing was bought the key is removed instead, if it is to leave none.
        """
        self._remember(word)
        try:
            if leaves_key or word.state is not ReservationState.FREED:
                await self._write(word)
            else:
                await self._remove(word)
        except StoreUnavailable as fault:
            _log_once(
                self._untaken, f"The outcome of a purchase cannot be written down now ({fault}): it is tried again"
            )
            writing = asyncio.get_running_loop().create_task(self._write_until_taken(word))
            self._writing[writing] = word
            writing.add_done_callback(self._writing.pop)

    async def aclose(self) -> None:
        """Try once more to write what the store has not taken; keys of what is lost are refused, as they were sent."""
        self._closing = True
        await self._sync.aclose()
        unwritten = dict(self._writing)
        for writing in unwritten:
            writing.cancel()
        if unwritten:
            await asyncio.wait(unwritten, timeout=LAST_WRITE_SECONDS)
            last = asyncio.gather(*map(self._write, unwritten.values()), return_exceptions=True)
            await asyncio.wait([last], timeout=LAST_WRITE_SECONDS)
            last.cancel()

    async def _write_until_taken(self, word: Reservation) -> None:
        for _ in range(MOST_WRITES):
            await self._sleep(WRITE_AGAIN_SECONDS)
            if self._closing or self._remembered.get(word.filed_under) not in (word, None):
                return
            try:
                await self._write(word)
            except StoreUnavailable:
                continue
            return
        _log_once(
            self._lost, "The outcome of a purchase could not be written down for an hour: its key is refused for a day"
        )

    async def _write(self, word: Reservation) -> None:
        """Make the store hold `word` and tell it, unless the store holds a later one. Raises StoreUnavailable."""
        if await self._keep(word):
            await self._tell(word)

    async def _remove(self, word: Reservation) -> None:
        """Take what the holder of `word` said out of the store, and tell it. Raises StoreUnavailable."""
        key = word.filed_under
        kept = await self._coordination.get(key)
        if kept is not None and self._format.unpack(key, kept).holder == word.holder:
            await self._coordination.remove(key, kept)
        await self._tell(word)

    async def _write_back(self, word: Reservation) -> None:
        """Make the store hold `word`, which was told already, as long as it counts. Raises StoreUnavailable."""
        if self._ttl_seconds(word) > 0:
            await self._keep(word)

    async def _keep(self, word: Reservation) -> bool:
        """Make the store hold `word`; return False where it holds a later one. Raises StoreUnavailable."""
        for _ in range(MOST_CHANGES):
            kept = await self._put_if_absent(word)
            if kept is None or kept == self._format.pack(word):
                break
            found = Found(self._format.unpack(word.filed_under, kept), kept)
            if not word.prevails_over(found.word):
                return False
            if await self.take(found, word):
                break
        return True

    async def _put_if_absent(self, word: Reservation) -> bytes | None:
        return await self._coordination.put_if_absent(
            word.filed_under, self._format.pack(word), self._ttl_seconds(word)
        )

    def _ttl_seconds(self, word: Reservation) -> float:
        kept = self._freed_kept_seconds if word.state is ReservationState.FREED else KEPT_SECONDS
        return min(kept, word.since + kept - self._wall_clock())

    async def _tell(self, word: Reservation) -> None:
        """Tell the other replicas; one that does not hear of it has the store."""
        try:
            await self._coordination.publish(to_message(word))
        except StoreUnavailable:
            log.info("The other replicas could not be told of a purchase")

    def _hear(self, message: bytes) -> None:
        if self._sync.hear(message):
            return
        if (word := from_message(message)) is None:
            return
        self._remember(word)

    def _learn(self, word: Reservation) -> None:
        """Remember what another replica remembers, as long as it counts."""
        if self._ttl_seconds(word) > 0:
            self._remember(word)

    def _remember(self, word: Reservation) -> None:
        """Keep the word, unless a later one is known; words on keys that are free make room first."""
        known = self._remembered.get(word.filed_under)
        if known is None or not known.prevails_over(word):
            self._remembered[word.filed_under] = word
            if word.state is ReservationState.FREED:
                self._remembered.move_to_end(word.filed_under, last=False)

    def _recall(self, key: str) -> Reservation | None:
        known = self._remembered.get(key)
        return known if known is not None and self._ttl_seconds(known) > 0 else None


def _log_once(burst: Burst, sentence: str) -> None:
    """Log the first of a burst, and then one line a minute with how many there were."""
    if (count := burst.count()) is not None:
        log.warning("%s (%d times since the last such line)", sentence, count)
