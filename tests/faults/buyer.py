"""Purchases of one simulated caller: without a key, or with an idempotency key that is sent again in several ways."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from random import Random

from app.services.purchases.idempotency import MAX_WAIT_SECONDS
from tests.faults.calls import Fate, Reply
from tests.faults.purchases import Attempt, Purchase
from tests.faults.truth import TOKENS, token_of

Send = Callable[[int, Purchase, float], Awaitable[Reply]]
"""Sends a purchase to the replica with this number (0 or 1), with a timeout in seconds."""

WAYS = {
    "no key": 3,
    "with a key": 2,
    "both replicas at once": 2,
    "one replica after the other": 2,
    "two tokens at once": 4,
    "an earlier key": 5,
}
"""The ways to buy, with their relative frequencies."""

TRIES = 6
MAX_REPEATED = 120
REPEAT_CONCURRENCY = 12


class Buyer:
    """Makes purchases, and records each one with the outcomes of its attempts."""

    def __init__(self, name: str, patience_seconds: float, random: Random, send: Send) -> None:
        """Use prompts and keys that contain `name`; give each attempt `patience_seconds`, and more with a key."""
        self._name = name
        self._patience_seconds = patience_seconds
        self._random = random
        self._send = send
        self._numbers = itertools.count()
        self.purchases: list[Purchase] = []

    async def buy(self) -> None:
        """Buy a video in one of WAYS, chosen at random."""
        token, other = (token_of(number) for number in self._random.sample(range(TOKENS), 2))
        replica = self._random.randrange(2)
        match self._random.choices(list(WAYS), list(WAYS.values()))[0]:
            case "no key":
                await self._attempt(self._new(token, keyed=False), replica)
            case "with a key":
                await self._attempt(self._new(token), replica)
            case "both replicas at once":
                purchase = self._new(token)
                await asyncio.gather(*(self._attempt(purchase, one) for one in (0, 1)))
            case "one replica after the other":
                purchase = self._new(token)
                for one in (replica, 1 - replica):
                    await self._attempt(purchase, one)
            case "two tokens at once":
                mine = self._new(token)
                theirs = Purchase(other, mine.prompt, mine.key)
                self.purchases.append(theirs)
                await asyncio.gather(*(self._attempt(purchase, replica) for purchase in (mine, theirs)))
            case _ if keyed := [purchase for purchase in self.purchases if purchase.key is not None]:
                await self._attempt(self._random.choice(keyed), replica)

    def _new(self, token: str, *, keyed: bool = True) -> Purchase:
        number = next(self._numbers)
        key = f"secret-key-{self._name}-{number}" if keyed else None
        purchase = Purchase(token, f"secret prompt {self._name}-{number}", key)
        self.purchases.append(purchase)
        return purchase

    async def _attempt(self, purchase: Purchase, replica: int) -> None:
        """Send a purchase, and retry through the other replica if no replica listens there.

        A call that was cut off is retried only with a key. A call with a key gets MAX_WAIT_SECONDS more, because
        it may wait for another call with that key; Judge checks later whether it had to.
        """
        seconds = self._patience_seconds + (0 if purchase.key is None else MAX_WAIT_SECONDS)
        for attempt in range(TRIES):
            noted = purchase.note(await self._send((replica + attempt) % 2, purchase, seconds))
            if noted.outcome == Fate.UNREACHED or (noted.outcome == Fate.CUT and purchase.key is not None):
                await asyncio.sleep(0.1 * attempt)
                continue
            return

    async def repeat(self) -> None:
        """Send up to MAX_REPEATED purchases with keys once more, after the fault, each through a random replica.

        Purchases that never returned a task come first. Purchases with an attempt that waited for about
        MAX_WAIT_SECONDS are left out: another attempt would only wait again.
        """
        keyed = [purchase for purchase in self.purchases if purchase.key is not None and not _waited_longest(purchase)]
        keyed.sort(key=lambda purchase: bool(purchase.task_ids))
        limiter = asyncio.Semaphore(REPEAT_CONCURRENCY)

        async def once_more(purchase: Purchase) -> None:
            async with limiter:
                await self._attempt(purchase, self._random.randrange(2))

        await asyncio.gather(*map(once_more, keyed[:MAX_REPEATED]))


def _waited_longest(purchase: Purchase) -> bool:
    return any(_took_long(attempt) for attempt in purchase.attempts)


def _took_long(attempt: Attempt) -> bool:
    return attempt.ended - attempt.started > MAX_WAIT_SECONDS - 1
