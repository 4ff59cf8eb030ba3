"""The operations of the ledger that are transactions of their own."""

from app.adapters.sql import ledger
from app.adapters.sql.budgets import budgets_counting
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.domain.budget import Spender, ThresholdPassed, UnsettledEntry, WindowUse


class SqlLedger:
    """The ledger of one database. Every method raises DatabaseUnavailable, and may be repeated."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Keep the ledger in `database`; `now` is the clock, as SQL."""
        self._database = database
        self._now = now

    async def name_task(self, attempt: str, task_id: str) -> None:
        """Note which task a purchase became, so that its outcome can be asked for."""
        await self._database.run(lambda connection: ledger.name_task(connection, attempt, task_id))

    async def take(self, attempt: str, task_id: str | None = None) -> bool:
        """Count a purchase as paid, once; return whether it was still reserved."""
        return await self._database.run_as_one(lambda connection: ledger.take(connection, attempt, task_id, self._now))

    async def give_back(self, attempt: str) -> bool:
        """Set what a purchase reserved free, once; return whether it was still reserved."""
        return await self._database.run_as_one(lambda connection: ledger.give_back(connection, attempt, self._now))

    async def reserved_attempt(self, team: str, task_id: str) -> str | None:
        """Return the purchase of a team whose task this is and which is still reserved; None where there is none."""
        return await self._database.run(lambda connection: ledger.reserved_attempt(connection, team, task_id))

    async def unsettled(self, older_than_seconds: float, most: int, team: str | None = None) -> list[UnsettledEntry]:
        """Return at most `most` reservations older than that, of one team or of all, the oldest first."""
        return await self._database.run(
            lambda connection: ledger.unsettled(connection, older_than_seconds, most, team, self._now)
        )

    async def mark_exhausted(self, use: WindowUse) -> ThresholdPassed | None:
        """Note that a window has refused a purchase, and return that it passed 100 % where that is news."""
        return await self._database.run_as_one(lambda connection: ledger.mark_exhausted(connection, use))

    async def budgets_counting(self, spender: Spender) -> list[WindowUse]:
        """Return the budgets that count a purchase of `spender` with what their present windows have used."""
        return await self._database.run(lambda connection: budgets_counting(connection, spender, self._now))
