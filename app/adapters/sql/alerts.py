"""Alerts of budgets in a transactional outbox: written with the change that crosses a threshold, and sent later.

So an alert is not lost in a crash, and none is sent for a purchase that was rolled back. Before a process sends an
alert, it claims the alert by moving the due time, so that no other process sends it meanwhile. Failed alerts are sent
again.
"""

import json
from typing import Any

from sqlalchemy import Row, and_, func, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import audit_values
from app.adapters.sql.budget_tables import budget_alerts, budgets
from app.adapters.sql.deletion import DELETION_BATCH_SIZE, delete_in_batches
from app.adapters.sql.directory_tables import audit, members, teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.domain.budget import Spender, ThresholdPassed
from app.domain.calendar import utc_text
from app.domain.money import amount_text
from app.domain.teams import AuditEntry
from app.ports.alerts import BudgetAlert

ACTION = "budget.threshold"


async def insert_alert(connection: AsyncConnection, threshold: ThresholdPassed, now: SqlClock) -> None:
    """Insert an alert that is due at once, and its audit log entry, in the transaction of the caller."""
    budget = threshold.use.budget
    team, member = await _select_names(connection, budget.spender)
    content = _content(threshold, team, member)
    alert = {"budget_id": budget.id, "team_id": budget.spender.team, "percent": threshold.percent}
    payload = {"content": json.dumps(content), "sealed_url": budget.alert and budget.alert.sealed}
    times = {"created_at": now(), "due_at": now(), "tries": 0}
    await connection.execute(budget_alerts.insert().values(alert | payload | times))
    await connection.execute(audit.insert().values(_audit_columns(threshold, content) | {"at": now()}))


class SqlAlerts:
    """The alerts of one database. Every method raises DatabaseUnavailable."""

    def __init__(
        self, database: Database, now: SqlClock = database_now, *, batch_size: int = DELETION_BATCH_SIZE
    ) -> None:
        """Use `database`. `now` returns the SQL of its clock. Old rows are deleted in batches of `batch_size`."""
        self._database = database
        self._now = now
        self._batch_size = batch_size

    async def take_due(self, limit: int, lease_seconds: float, *, per_team: int) -> list[BudgetAlert]:
        """Claim and return at most `limit` due alerts, and at most `per_team` of each team, the longest due first.

        No alert is returned to two callers. Unless it is marked as done or rescheduled, an alert is due
        again after `lease_seconds`.
        """
        order = (budget_alerts.c.due_at, budget_alerts.c.id)
        rank = func.row_number().over(partition_by=budget_alerts.c.team_id, order_by=order).label("rank_in_team")

        async def operation(connection: AsyncConnection) -> list[BudgetAlert]:
            due = select(budget_alerts, rank).where(budget_alerts.c.due_at <= self._now()).subquery()
            query = select(due).where(due.c.rank_in_team <= per_team).order_by(due.c.due_at, due.c.id).limit(limit)
            rows = (await connection.execute(query)).all()
            return [_alert(row) for row in rows if await self._claim(connection, row, lease_seconds)]

        return await self._database.run_in_transaction(operation)

    async def mark_done(self, alert: BudgetAlert) -> None:
        """Record that an alert was sent or given up."""
        await self._set_due(alert, None)

    async def reschedule(self, alert: BudgetAlert, seconds: float) -> None:
        """Make an alert due again after `seconds`."""
        await self._set_due(alert, self._now() + seconds)

    async def sealed_urls(self) -> list[tuple[str, str]]:
        """Return the id of the team and the sealed URL of each budget that has a URL."""
        query = select(budgets.c.team_id, budgets.c.alert_sealed).where(budgets.c.alert_sealed.is_not(None))

        async def operation(connection: AsyncConnection) -> list[tuple[str, str]]:
            return [(row.team_id, row.alert_sealed) for row in await connection.execute(query)]

        return await self._database.run(operation)

    async def replace_sealed_url(self, team_id: str, old_sealed: str, new_sealed: str) -> None:
        """Replace `old_sealed` in a team's budgets with `new_sealed`, the same URL under other secret keys."""
        condition = and_(budgets.c.team_id == team_id, budgets.c.alert_sealed == old_sealed)
        statement = update(budgets).where(condition).values(alert_sealed=new_sealed)
        await self._database.run(lambda connection: connection.execute(statement))

    async def delete_old(self, seconds: float) -> int:
        """Delete alerts older than `seconds` in batches, and return their number."""
        old = budget_alerts.c.created_at < self._now() - seconds
        return await delete_in_batches(self._database, budget_alerts.c.id, old, self._batch_size)

    async def _claim(self, connection: AsyncConnection, row: Row[Any], lease_seconds: float) -> bool:
        """Compare-and-set the due time, and return whether no other process has claimed the alert."""
        unchanged = and_(budget_alerts.c.id == row.id, budget_alerts.c.due_at == row.due_at)
        claim = update(budget_alerts).where(unchanged)
        values = {"due_at": self._now() + lease_seconds, "tries": budget_alerts.c.tries + 1}
        return bool((await connection.execute(claim.values(values))).rowcount)

    async def _set_due(self, alert: BudgetAlert, at: Any) -> None:
        statement = update(budget_alerts).where(budget_alerts.c.id == alert.id).values(due_at=at)
        await self._database.run(lambda connection: connection.execute(statement))


async def _select_names(connection: AsyncConnection, spender: Spender) -> tuple[str, str | None]:
    """Return the name of the spender's team and that of the member, which is None if the spender is not a member."""
    team = (await connection.execute(select(teams.c.name).where(teams.c.id == spender.team))).scalar_one()
    if spender.member is None:
        return team, None
    return team, (await connection.execute(select(members.c.name).where(members.c.id == spender.member))).scalar()


def _content(threshold: ThresholdPassed, team: str, member: str | None) -> dict[str, Any]:
    """Return the JSON content of the alert. Amounts are decimal numbers as strings, so that no digit is lost."""
    use, budget = threshold.use, threshold.use.budget
    return {
        "team": team,
        "member": member,
        "key": budget.spender.key,
        "window": budget.window,
        "percent": threshold.percent,
        "is_soft": budget.is_soft,
        "unit": budget.unit,
        "limit": amount_text(use.limit),
        "left": amount_text(use.left),
        "reserved": amount_text(use.reserved),
        "spent": amount_text(use.spent),
        "began_at": utc_text(use.start),
        "renews_at": utc_text(use.renews_at),
    }


def _audit_columns(threshold: ThresholdPassed, content: dict[str, Any]) -> dict[str, Any]:
    use, budget = threshold.use, threshold.use.budget
    names = [content["team"], content["member"], content["key"]]
    entry = AuditEntry(
        "service",
        ACTION,
        f"{budget.window} of {'/'.join(name for name in names if name)}",
        team_id=budget.spender.team,
        member_id=budget.spender.member,
        key_id=budget.spender.key,
        after={name: content[name] for name in ("percent", "limit", "reserved", "spent")},
        amount=use.limit,
        unit=budget.unit,
    )
    return audit_values(entry)


def _alert(row: Row[Any]) -> BudgetAlert:
    content: dict[str, Any] = json.loads(row.content)
    return BudgetAlert(row.id, row.team_id, row.percent, content, row.sealed_url, row.created_at, row.tries + 1)
