"""Writes the outcomes of purchases, at once or when the database answers again."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.domain.purchase import NewPurchase, PurchaseState
from app.ports.repositories import DatabaseUnavailable, Purchases
from app.services.concurrency import wait_for_event
from app.services.log_throttle import LogThrottle

WRITE_AGAIN_SECONDS = 1.0
MOST_UNWRITTEN = 10_000
"""Unwritten outcomes in each process, under 1 KB each."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a submission.

    Attributes:
        purchase: the submission.
        state: its last state; None deletes the row, because the backend does not know the token.
        task_id: its task, if it was started.
        is_recorded: whether the purchase itself may already be in the database.

    """

    purchase: NewPurchase
    state: PurchaseState | None
    task_id: str | None = None
    is_recorded: bool = True


class PurchaseWriter:
    """Writes outcomes in order of arrival."""

    def __init__(
        self, purchases: Purchases, sleep: Callable[[float], Awaitable[None]], clock: Callable[[], float]
    ) -> None:
        """Write to `purchases`; `clock` counts seconds and never goes back."""
        self._purchases = purchases
        self._sleep = sleep
        self._unwritten: deque[Outcome] = deque()
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._delays, self._losses = LogThrottle(clock), LogThrottle(clock)

    async def write(self, outcome: Outcome) -> None:
        """Write the outcome, now or later; never raises.

        An outcome whose purchase could not be recorded is written later: its caller has waited for the database once.
        """
        if not outcome.is_recorded:
            self._write_later(outcome)
            return
        try:
            await self._write(outcome)
        except DatabaseUnavailable:
            self._write_later(outcome)

    async def aclose(self) -> None:
        """Try once more to write unwritten outcomes. A purchase without one stays `sent`, and its key refuses."""
        self._closing.set()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write_all()
        if self._unwritten:
            log.error("%d outcomes of purchases were not recorded: the database does not answer", len(self._unwritten))

    def _write_later(self, outcome: Outcome) -> None:
        if len(self._unwritten) >= MOST_UNWRITTEN:
            if (lost := self._losses.count()) is not None:
                log.error("%d outcomes of purchases were dropped: too many wait for the database", lost)
            return
        self._unwritten.append(outcome)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_until_done())

    async def _write_until_done(self) -> None:
        await self._write_all()
        if not self._unwritten:
            return
        if self._delays.count() is not None:
            log.warning(
                "The database does not answer: the outcomes of %d purchases, and of those that follow, are recorded "
                "when it does",
                len(self._unwritten),
            )
        while self._unwritten:
            await wait_for_event(self._closing, WRITE_AGAIN_SECONDS, self._sleep)
            if self._closing.is_set():
                return
            await self._write_all()
        log.info("The database answers again: the outcomes of all purchases are recorded")

    async def _write_all(self) -> None:
        while self._unwritten:
            try:
                await self._write(self._unwritten[0])
            except DatabaseUnavailable:
                return
            self._unwritten.popleft()

    async def _write(self, outcome: Outcome) -> None:
        attempt = outcome.purchase.attempt
        if outcome.state is None:
            await self._purchases.forget(attempt)
            return
        if not outcome.is_recorded:
            await self._purchases.record(outcome.purchase, outcome.state, outcome.task_id)
        await self._purchases.record_outcome(attempt, outcome.state, outcome.task_id)
