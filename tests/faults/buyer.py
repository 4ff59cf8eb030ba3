"""How one caller buys: once, or under a key that is sent again, at once, later, elsewhere, or as somebody else."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from random import Random

from app.services.purchases.idempotency import LONGEST_WAIT_SECONDS
from tests.faults.calls import Fate, Reply
from tests.faults.purchases import Attempt, Purchase
from tests.faults.truth import TOKENS, token_of

Send = Callable[[int, Purchase, float], Awaitable[Reply]]
"""Sends a purchase to the replica of a number, and waits for so many seconds."""

WAYS = {"once": 3, "with a key": 2, "at once": 2, "elsewhere": 2, "as two": 4, "as before": 5}
"""How callers buy, and how often in comparison."""

TRIES = 6
MOST_REPEATED = 120
REPEATED_AT_ONCE = 12


class Buyer:
    """Makes purchases and keeps each of them with all that was said of it."""

    def __init__(self, name: str, patience_seconds: float, random: Random, send: Send) -> None:
        """Buy under prompts and keys that begin with `name`."""
        self._name = name
        self._patience_seconds = patience_seconds
        self._random = random
        self._send = send
        self._numbers = itertools.count()
        self.purchases: list[Purchase] = []

    async def buy(self) -> None:
        """Buy a video in one of the ways that there are."""
        token, other = (token_of(number) for number in self._random.sample(range(TOKENS), 2))
        replica = self._random.randrange(2)
        match self._random.choices(list(WAYS), list(WAYS.values()))[0]:
            case "once":
                await self._attempt(self._new(token, keyed=False), replica)
            case "with a key":
                await self._attempt(self._new(token), replica)
            case "at once":
                purchase = self._new(token)
                await asyncio.gather(*(self._attempt(purchase, one) for one in (0, 1)))
            case "elsewhere":
                purchase = self._new(token)
                for one in (replica, 1 - replica):
                    await self._attempt(purchase, one)
            case "as two":
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
        """Send a purchase; to the other replica where one is gone. What was cut off is sent again under its key only.

        A key that somebody else has in hand makes a call wait for what becomes of it; whether it was is judged later.
        """
        seconds = self._patience_seconds + (0 if purchase.key is None else LONGEST_WAIT_SECONDS)
        for attempt in range(TRIES):
            noted = purchase.note(await self._send((replica + attempt) % 2, purchase, seconds))
            if noted.outcome == Fate.UNREACHED or (noted.outcome == Fate.CUT and purchase.key is not None):
                await asyncio.sleep(0.1 * attempt)
                continue
            return

    async def repeat(self) -> None:
        """Send purchases with keys once more, through one replica or the other, after all is over.

        Those that were never taken come first. One that has been waited for in vain already says nothing new.
        """
        keyed = [purchase for purchase in self.purchases if purchase.key is not None and not _is_waited_out(purchase)]
        keyed.sort(key=lambda purchase: bool(purchase.task_ids))
        places = asyncio.Semaphore(REPEATED_AT_ONCE)

        async def once_more(purchase: Purchase) -> None:
            async with places:
                await self._attempt(purchase, self._random.randrange(2))

        await asyncio.gather(*map(once_more, keyed[:MOST_REPEATED]))


def _is_waited_out(purchase: Purchase) -> bool:
    return any(_took_long(attempt) for attempt in purchase.attempts)


def _took_long(attempt: Attempt) -> bool:
    return attempt.ended - attempt.started > LONGEST_WAIT_SECONDS - 1
