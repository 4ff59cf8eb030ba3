"""Teams in a database, for tests of what they may spend."""

import secrets

from app.adapters.sql import ledger
from app.adapters.sql.budgets import new_budget_id, put_budget
from app.adapters.sql.engine import Database
from app.adapters.sql.ledger import reserve
from app.adapters.sql.settlement import SqlLedger
from app.domain.budget import Budget, Charge, Spender, ThresholdPassed, UnsettledEntry, WindowUse
from app.domain.calendar import Window
from app.domain.money import MILLIONTHS, Money
from tests.support.clock import HandClock
from tests.support.directories import ACTOR, directory_at


async def make_team(database: Database, clock: HandClock, timezone: str = "UTC") -> str:
    """Make a team and return its id."""
    team = await directory_at(database, clock).teams.create(secrets.token_hex(8), timezone, ACTOR)
    return team.id


def budget(  # noqa: PLR0913 - a budget has many sides
    team: str,
    units: int,
    window: Window = Window.DAY,
    *,
    member: str | None = None,
    key: str | None = None,
    is_soft: bool = False,
    unit: str = "credits",
) -> Budget:
    """Return a budget of `units` credits."""
    return Budget(new_budget_id(), Spender(team, member, key), units * MILLIONTHS, unit, window, is_soft)


def priced(units: int) -> Money:
    """Return a price in credits."""
    return Money(units * MILLIONTHS, "credits")


class Ledger(SqlLedger):
    """The ledger, with operations that the service makes only as parts of its transactions."""

    def __init__(self, database: Database, clock: HandClock) -> None:
        """Keep the ledger in `database`, by `clock`."""
        super().__init__(database, clock.sql)
        self._in = database
        self._sql = clock.sql

    async def name_task(self, attempt: str, task_id: str) -> None:
        await self._in.run(lambda connection: ledger.record_task_id(connection, attempt, task_id))

    async def take(self, attempt: str, task_id: str | None = None) -> bool:
        return await self._in.run_in_transaction(
            lambda connection: ledger.take(connection, attempt, task_id, self._sql)
        )

    async def give_back(self, attempt: str) -> bool:
        return await self._in.run_in_transaction(lambda connection: ledger.give_back(connection, attempt, self._sql))

    async def unsettled(self, older_than_seconds: float, limit: int, team: str | None = None) -> list[UnsettledEntry]:
        return await self._in.run(
            lambda connection: ledger.unsettled(connection, older_than_seconds, limit, team, self._sql)
        )

    async def mark_exhausted(self, use: WindowUse) -> ThresholdPassed | None:
        return await self._in.run_in_transaction(lambda connection: ledger.mark_exhausted(connection, use, self._sql))


class Purchaser:
    """Buys for one caller in a database whose clock is set by hand, and sets budgets there."""

    def __init__(self, database: Database, clock: HandClock, spender: Spender) -> None:
        self.database = database
        self.clock = clock
        self.spender = spender
        self.ledger = Ledger(database, clock)

    async def put(self, wanted: Budget) -> Budget | None:
        return await self.database.run_in_transaction(lambda connection: put_budget(connection, wanted, self.clock.sql))

    async def reserve(
        self, attempt: str | None = None, price: Money | None = None
    ) -> tuple[str, tuple[ThresholdPassed, ...]]:
        """Reserve a price, by default of one credit, for a new attempt by default; return the attempt too."""
        attempt = attempt or secrets.token_hex(16)
        return attempt, await self._reserve(attempt, price or priced(1))

    async def reserve_unpriced(self) -> None:
        """Enter a purchase whose price is not known."""
        await self._reserve(secrets.token_hex(16), None)

    async def _reserve(self, attempt: str, price: Money | None) -> tuple[ThresholdPassed, ...]:
        return await self.database.run_in_transaction(
            lambda connection: reserve(connection, attempt, Charge(self.spender, price), self.clock.sql)
        )
