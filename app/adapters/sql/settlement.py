"""The operations of the ledger that run in transactions of their own, not in that of a purchase."""

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql import ledger
from app.adapters.sql.budget_tables import budget_windows, budgets
from app.adapters.sql.budget_tables import ledger as entries
from app.adapters.sql.budgets import budgets_counting
from app.adapters.sql.deletion import DELETION_BATCH_SIZE, delete_in_batches
from app.adapters.sql.directory_tables import teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.limit_rows import in_flight_use
from app.adapters.sql.spending import spent_this_month
from app.domain.budget import EntryState, MonthSpent, Spender, UnsettledEntry, WindowUse
from app.domain.rate_limit import LimitUse

MAX_WINDOW_SECONDS = 32 * 86_400.0
"""Longer than the longest month: a window that began longer ago than this has ended."""


class SqlLedger:
    """The ledger of one database. Every method raises DatabaseUnavailable, and may be repeated."""

    def __init__(
        self, database: Database, now: SqlClock = database_now, *, batch_size: int = DELETION_BATCH_SIZE
    ) -> None:
        """Use `database`. `now` returns the SQL of its clock. Old rows are deleted in batches of `batch_size`."""
        self._batch_size = batch_size
        self._database = database
        self._now = now

    async def settle_task(self, team: str, task_id: str, *, is_paid: bool) -> bool:
        """Take or give back the amount reserved for a team's task. Return whether it was still reserved."""
        return await self._database.run_in_transaction(
            lambda connection: ledger.settle_task(connection, team, task_id, is_paid=is_paid, now=self._now)
        )

    async def take_overdue(self, limit: int) -> list[UnsettledEntry]:
        """Claim and return at most `limit` overdue reservations, whose tasks are to be read."""
        return await self._database.run_in_transaction(
            lambda connection: ledger.take_overdue(connection, limit, self._now)
        )

    async def team_budgets(self, limit: int) -> list[tuple[str, WindowUse]]:
        """Return the budgets of whole teams, of at most `limit` teams, with the usage of their current windows."""

        async def operation(connection: AsyncConnection) -> list[tuple[str, WindowUse]]:
            is_whole_team = and_(budgets.c.member_id == "", budgets.c.key_id == "")
            query = select(teams.c.id, teams.c.name).where(
                teams.c.id.in_(select(budgets.c.team_id).where(is_whole_team))
            )
            rows = (await connection.execute(query.order_by(teams.c.created_at).limit(limit))).all()
            return [(team.name, use) for team in rows for use in await self._budgets_of(connection, team.id)]

        return await self._database.run(operation)

    async def _budgets_of(self, connection: AsyncConnection, team_id: str) -> list[WindowUse]:
        return await budgets_counting(connection, Spender(team_id), self._now)

    async def delete_old(self, seconds: float) -> int:
        """Delete settled entries older than `seconds`, and return their number.

        Windows that began longer ago than `seconds` and MAX_WINDOW_SECONDS together are deleted too.
        """
        before = self._now() - seconds
        windows = budget_windows.c.window_start < before - MAX_WINDOW_SECONDS
        await delete_in_batches(self._database, budget_windows.c.budget_id, windows, self._batch_size)
        settled = and_(entries.c.created_at < before, entries.c.state != EntryState.RESERVED)
        return await delete_in_batches(self._database, entries.c.id, settled, self._batch_size)

    async def spent_this_month(self, spender: Spender, unit: str | None) -> MonthSpent:
        """Return the spending of the spender's team and of the member in `unit` in the current month.

        None as `unit` selects the purchases whose price is unknown.
        """
        return await self._database.run(lambda connection: spent_this_month(connection, spender, unit, self._now))

    async def budgets_counting(self, spender: Spender) -> list[WindowUse]:
        """Return the budgets that count a purchase of `spender` with the usage of their current windows."""
        return await self._database.run(lambda connection: budgets_counting(connection, spender, self._now))

    async def in_flight(self, spender: Spender) -> tuple[LimitUse, ...]:
        """Return the use of the limits of generations in flight that apply to `spender`."""
        return await self._database.run(lambda connection: in_flight_use(connection, spender, self._now))
