"""The operations of the ledger that are transactions of their own."""

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql import ledger
from app.adapters.sql.budget_tables import budget_windows, budgets
from app.adapters.sql.budget_tables import ledger as entries
from app.adapters.sql.budgets import budgets_counting
from app.adapters.sql.deletion import MOST_DELETED, delete_in_lots
from app.adapters.sql.directory_tables import teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.spending import spent_this_month
from app.domain.budget import EntryState, MonthSpent, Spender, UnsettledEntry, WindowUse

LONGEST_WINDOW_SECONDS = 32 * 86_400.0
"""More than the longest month: what began before has ended."""


class SqlLedger:
    """The ledger of one database. Every method raises DatabaseUnavailable, and may be repeated."""

    def __init__(self, database: Database, now: SqlClock = database_now, *, most_deleted: int = MOST_DELETED) -> None:
        """Keep the ledger in `database`; `now` is the clock, as SQL. Old rows are deleted in lots of `most_deleted`."""
        self._most_deleted = most_deleted
        self._database = database
        self._now = now

    async def settle_task(self, team: str, task_id: str, *, is_paid: bool) -> bool:
        """Take or give back what the purchase of a team's task reserved; return whether it was still reserved."""
        return await self._database.run_as_one(
            lambda connection: ledger.settle_task(connection, team, task_id, is_paid=is_paid, now=self._now)
        )

    async def take_overdue(self, most: int) -> list[UnsettledEntry]:
        """Return at most `most` reservations whose task is to be asked for, each to one caller."""
        return await self._database.run(lambda connection: ledger.take_overdue(connection, most, self._now))

    async def team_budgets(self, most: int) -> list[tuple[str, WindowUse]]:
        """Return the budgets of whole teams with what their present windows have used, of at most `most` teams."""

        async def operation(connection: AsyncConnection) -> list[tuple[str, WindowUse]]:
            whole = and_(budgets.c.member_id == "", budgets.c.key_id == "")
            named = select(teams.c.id, teams.c.name).where(teams.c.id.in_(select(budgets.c.team_id).where(whole)))
            found = (await connection.execute(named.order_by(teams.c.created_at).limit(most))).all()
            return [(team.name, use) for team in found for use in await self._of_team(connection, team.id)]

        return await self._database.run(operation)

    async def _of_team(self, connection: AsyncConnection, team_id: str) -> list[WindowUse]:
        return await budgets_counting(connection, Spender(team_id), self._now)

    async def delete_old(self, seconds: float) -> int:
        """Delete settled costs older than `seconds`, and windows that began before, in lots; return the number."""
        before = self._now() - seconds
        windows = budget_windows.c.window_start < before - LONGEST_WINDOW_SECONDS
        await delete_in_lots(self._database, budget_windows.c.budget_id, windows, self._most_deleted)
        settled = and_(entries.c.created_at < before, entries.c.state != EntryState.RESERVED)
        return await delete_in_lots(self._database, entries.c.id, settled, self._most_deleted)

    async def spent_this_month(self, spender: Spender, unit: str | None) -> MonthSpent:
        """Return what the spender's team, and the member, have bought in `unit` this month."""
        return await self._database.run(lambda connection: spent_this_month(connection, spender, unit, self._now))

    async def budgets_counting(self, spender: Spender) -> list[WindowUse]:
        """Return the budgets that count a purchase of `spender` with what their present windows have used."""
        return await self._database.run(lambda connection: budgets_counting(connection, spender, self._now))
