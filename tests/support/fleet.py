"""Two replicas that share a database, with two teams: film and ads."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from app.adapters.sql.budget_administration import SqlBudgets
from tests.support.clock import HandClock
from tests.support.service import Service, sandbox, serving, settings
from tests.support.settling import settle
from tests.support.teams import Teams, teams_in


class Fleet:
    """Two replicas that share a database, and the teams in it."""

    def __init__(self, one: Service, other: Service, teams: Teams, clock: HandClock) -> None:
        self.one, self.other, self.teams, self.clock = one, other, teams, clock
        self.budgets = SqlBudgets(one.assembly.persistence.database, clock.sql)

    async def settle(self) -> None:
        """Let the replicas see what has changed."""
        await settle(self.clock, self.one, self.other)


@asynccontextmanager
async def running_fleet(clock: HandClock, database_url: str, **values: str) -> AsyncIterator[Fleet]:
    """Lend two replicas over one sandbox; each team has a credential."""
    given, backend = settings(auth="passthrough,keys", database_url=database_url, **values), sandbox(clock)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(serving(given, backend, clock)) for _ in range(2)]
        teams = teams_in(one.assembly.persistence.database, clock)
        await teams.team("film", "token-film")
        await teams.team("ads", "token-ads")
        fleet = Fleet(one, other, teams, clock)
        await fleet.settle()
        yield fleet
