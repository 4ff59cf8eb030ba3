"""Builds the reports of spending, and the background work for teams: settlement, budget alerts and metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.adapters.auth.key_digest import KeyDigest
from app.adapters.auth.team_credentials import TeamCredentials
from app.adapters.sql.alerts import SqlAlerts
from app.adapters.sql.settlement import SqlLedger
from app.adapters.vault import Vault
from app.adapters.webhook import WebhookSender
from app.composition.clocks import Clocks
from app.domain.access import Principal
from app.domain.backend import BackendDescription
from app.domain.money import price_of_generation
from app.observability.metrics import Metrics
from app.persistence import Persistence
from app.ports.auth import Caller
from app.services.limits.database_turns import DatabaseTurns
from app.services.tasks.lookup import TaskService
from app.services.teams.budget_alerts import BudgetAlertDispatcher
from app.services.teams.budget_gauge import BudgetGauge
from app.services.teams.opening import TeamDirectory
from app.services.teams.settlement import OverdueReservations, Settlement
from app.services.teams.usage import UsageReports
from app.settings import Settings

SERVICE = "service"
"""The subject of the Caller with which this service reads a team's tasks on its own, without a request."""


@dataclass(frozen=True, slots=True)
class TeamWork:
    """The background work for teams. `gauge` is None if budgets are not exported as a metric."""

    settlement: Settlement
    overdue: OverdueReservations
    alerts: BudgetAlertDispatcher
    gauge: BudgetGauge | None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work while entered. On exit, settle the ended tasks that are not settled yet."""
        parts = (self.settlement, self.overdue, self.alerts, self.gauge)
        tasks = [asyncio.create_task(part.run()) for part in parts if part is not None]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.settlement.settle_last()


def build_settlement(persistence: Persistence, clocks: Clocks) -> Settlement:
    """Return the settlement, which charges or releases the reservations of ended tasks."""
    return Settlement(SqlLedger(persistence.database, clocks.database), clocks.sleep)


def build_usage(
    persistence: Persistence, read_turns: DatabaseTurns, backend: BackendDescription, clocks: Clocks
) -> UsageReports:
    """Return the reports of callers' spending. `read_turns` limits their concurrent reads."""
    return UsageReports(
        SqlLedger(persistence.database, clocks.database),
        persistence.purchases,
        read_turns,
        price_of_generation(backend.policy.price),
        clocks.wall,
    )


def build_team_work(  # noqa: PLR0913, PLR0917 - the dependencies of background work
    settings: Settings,
    settlement: Settlement,
    tasks: TaskService,
    directory: TeamDirectory[KeyDigest] | None,
    persistence: Persistence,
    backend: BackendDescription,
    metrics: Metrics,
    clocks: Clocks,
) -> TeamWork | None:
    """Return the background work; None if teams are not served."""
    if directory is None:
        return None
    database, keys = persistence.database, tuple(settings.secret_keys())
    ledger = SqlLedger(database, clocks.database)
    overdue = OverdueReservations(ledger, tasks.read, _reader_for(directory, backend), clocks.sleep)
    alerts = BudgetAlertDispatcher(
        SqlAlerts(database, clocks.database),
        WebhookSender(Vault(*keys), keys, clocks.wall),
        clocks.sleep,
        on_threshold_passed=metrics.budget_passed,
        on_attempt=metrics.alert_ended,
    )
    gauge = BudgetGauge(ledger, metrics.show_budgets, clocks.sleep) if settings.team_metrics else None
    return TeamWork(settlement, overdue, alerts, gauge)


def _reader_for(directory: TeamDirectory[KeyDigest], backend: BackendDescription) -> Callable[[str], Caller]:
    """Return a function from a team's id to the caller that reads tasks for the team."""

    def reader(team_id: str) -> Caller:
        return Caller(Principal(SERVICE, team_id), TeamCredentials(directory.cache, team_id, backend))

    return reader
