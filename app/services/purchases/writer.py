"""Writes the outcomes of purchases to the database, with retries while it does not answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from app.ports.repositories import DatabaseUnavailable, Purchases
from app.services.concurrency import wait_for_event
from app.services.limits.database_turns import DatabaseTurns
from app.services.log_throttle import LogThrottle
from app.services.purchases.outcome_queue import Outcome, OutcomeQueue

RETRY_SECONDS = 1.0
"""Pause between two attempts to write the queued outcomes."""

log = logging.getLogger(__name__)


class PurchaseWriter:
    """Writes outcomes. Those that cannot be written at once are queued and retried."""

    def __init__(
        self,
        purchases: Purchases,
        turns: DatabaseTurns,
        unwritten: OutcomeQueue,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """Write to `purchases`: at once within the limits of `turns`, or later and one by one from `unwritten`.

        `clock` is monotonic, in seconds, and throttles the log lines.
        """
        self._purchases = purchases
        self._turns = turns
        self._sleep = sleep
        self._unwritten = unwritten
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._delay_log, self._loss_log = LogThrottle(clock), LogThrottle(clock)

    async def write(self, outcome: Outcome) -> None:
        """Write the outcome now or later. Never raises DatabaseUnavailable.

        If the purchase itself is not recorded, the outcome is queued: its caller already waited for the database.
        """
        if not outcome.is_recorded:
            self._write_later(outcome)
            return
        try:
            await self._turns.run(outcome.purchase.caller, partial(self._write, outcome))
        except DatabaseUnavailable:
            self._write_later(outcome)

    async def aclose(self) -> None:
        """Try once more to write the queued outcomes. Purchases of lost outcomes stay `sent`, their keys refused."""
        self._closing.set()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write_all()
        if self._unwritten:
            log.error(
                "%d outcomes of purchases were lost at shutdown: the database does not answer. Recorded purchases "
                "stay `sent`, and their idempotency keys are refused",
                len(self._unwritten),
            )

    def _write_later(self, outcome: Outcome) -> None:
        if not self._unwritten.add(outcome):
            if (lost := self._loss_log.count()) is not None:
                log.error(
                    "%d outcomes of purchases were lost: the database does not answer, and the queue of outcomes, "
                    "or the share of a caller, is full. Recorded purchases stay `sent`, and their idempotency keys "
                    "are refused",
                    lost,
                )
            return
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_until_done())

    async def _write_until_done(self) -> None:
        await self._write_all()
        if not self._unwritten:
            return
        if self._delay_log.count() is not None:
            log.warning(
                "The database does not answer. The outcomes of %d purchases, and later ones, are queued in memory "
                "until it does. Start the database before you stop this process, which would lose them",
                len(self._unwritten),
            )
        while self._unwritten:
            await wait_for_event(self._closing, RETRY_SECONDS, self._sleep)
            if self._closing.is_set():
                return
            await self._write_all()
        log.info("The database answers again. All queued outcomes of purchases are recorded")

    async def _write_all(self) -> None:
        while (outcome := self._unwritten.take()) is not None:
            try:
                await self._write(outcome)
            except DatabaseUnavailable:
                self._unwritten.put_back(outcome)
                return
            self._unwritten.remove(outcome)

    async def _write(self, outcome: Outcome) -> None:
        attempt = outcome.purchase.attempt
        if outcome.state is None:
            await self._purchases.delete_unbought(attempt)
            return
        if not outcome.is_recorded:  # a row that was stored after all stays, and gets its outcome below
            await self._purchases.record(outcome.purchase, outcome.state, outcome.task_id)
        await self._purchases.record_outcome(attempt, outcome.state, outcome.task_id)
