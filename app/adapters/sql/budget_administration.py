"""The administration of budgets, in SQL for both SQLite and PostgreSQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Administration, Change, team_named
from app.adapters.sql.budgets import (
    budgets_of_spender,
    budgets_of_team,
    new_budget_id,
    put_budget,
    raise_budget,
    remove_budget,
)
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.ledger import unsettled
from app.adapters.sql.spender_names import owner_text, spender_names
from app.adapters.sql.spending import days_from, spending
from app.domain.budget import OVERDUE_SECONDS, Budget, WindowUse
from app.domain.calendar import Window, day_of, start_of_day, time_zone
from app.domain.money import amount_text
from app.domain.teams import Actor, AuditEntry, Team
from app.ports.budgets import BudgetOwner, BudgetTerms, OwnedBudget, SpendingGroup, Usage
from app.ports.directory import NotAllowed, NotThere

MAX_UNSETTLED = 100
"""Maximum number of overdue reservations in a report of usage."""


class SqlBudgets:
    """The budgets of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._administration = Administration(database, now)
        self._now = now

    async def set(self, owner: BudgetOwner, terms: BudgetTerms, actor: Actor) -> OwnedBudget:
        """Set the budget of an owner. It replaces an earlier budget for the same window (day, week or month).

        Raises NotThere if the team, the member or the key does not exist.
        """
        budget_id = new_budget_id()

        async def operation(change: Change) -> tuple[OwnedBudget, AuditEntry | None]:
            team = await change.team(owner.team)
            spender = (await spender_names(change.connection, team)).spender(team, owner)
            amount = terms.amount
            budget = Budget(budget_id, spender, amount.amount, amount.unit, terms.window, terms.is_soft, terms.alert)
            before = await put_budget(change.connection, budget, self._now)
            return await self._changed_budget(change, team, "budget.set", before, budget)

        return await self._administration.change(actor, operation)

    async def of_team(self, team: str) -> list[OwnedBudget]:
        """Return every budget of a team, its own first, then those of members and of keys. Raises NotThere."""

        async def operation(connection: AsyncConnection) -> list[OwnedBudget]:
            return await self._of_team(connection, await team_named(connection, team))

        return await self._database.run(operation)

    async def increase(
        self, owner: BudgetOwner, window: Window | None, *, by: int, until: date, actor: Actor
    ) -> OwnedBudget:
        """Raise a budget by `by` millionths until the end of the day `until` in the team's time zone.

        Raises NotThere; NotAllowed if the day is over, or if `window` is None and the owner has several budgets.
        """

        async def operation(change: Change) -> tuple[OwnedBudget, AuditEntry | None]:
            team = await change.team(owner.team)
            ends_at = start_of_day(until + timedelta(days=1), time_zone(team.timezone))
            if ends_at <= change.now:
                raise NotAllowed(
                    f"The raise would have ended already: {until} is over in {team.timezone}. Choose a later day."
                )
            before = (await self._only_budget(change.connection, team, owner, window)).budget
            after = await raise_budget(change.connection, before, by, ends_at)
            return await self._changed_budget(change, team, "budget.raise", before, after)

        return await self._administration.change(actor, operation)

    async def remove(self, owner: BudgetOwner, window: Window | None, actor: Actor) -> OwnedBudget:
        """Remove a budget, and return it as it was. Raises NotThere and NotAllowed."""

        async def operation(change: Change) -> tuple[OwnedBudget, AuditEntry | None]:
            team = await change.team(owner.team)
            before = await self._only_budget(change.connection, team, owner, window)
            await remove_budget(change.connection, before.budget)
            names = await spender_names(change.connection, team)
            removed = OwnedBudget(names.owner(team, before.budget.spender), before)
            return removed, _entry(change, "budget.remove", removed, before.budget, None)

        return await self._administration.change(actor, operation)

    async def usage(self, team: str, since: date | None, by: SpendingGroup | None) -> Usage:
        """Return a team's spending since the start of the day `since`, by default the first of the current month.

        The spending is grouped by `by` and by unit; if `by` is None, by unit alone. Raises NotThere.
        """

        async def operation(connection: AsyncConnection) -> Usage:
            named_team = await team_named(connection, team)
            zone = time_zone(named_team.timezone)
            now = float((await connection.execute(select(self._now()))).scalar_one())
            today = day_of(now, zone)
            first_day = since or today.replace(day=1)
            days = days_from(max(first_day, day_of(named_team.created_at, zone)), today)
            overdue = await unsettled(connection, OVERDUE_SECONDS, MAX_UNSETTLED, named_team.id, self._now)
            rows = await spending(connection, named_team, days, by, zone)
            return Usage(first_day, rows, await self._of_team(connection, named_team), overdue)

        return await self._database.run(operation)

    async def _of_team(self, connection: AsyncConnection, team: Team) -> list[OwnedBudget]:
        names = await spender_names(connection, team)
        uses = await budgets_of_team(connection, team.id, self._now)
        owned_budgets = [OwnedBudget(names.owner(team, use.budget.spender), use) for use in uses]
        window_order = list(Window)
        return sorted(
            owned_budgets,
            key=lambda owned: (
                owned.owner.key or "",
                owned.owner.member or "",
                window_order.index(owned.use.budget.window),
            ),
        )

    async def _only_budget(
        self, connection: AsyncConnection, team: Team, owner: BudgetOwner, window: Window | None
    ) -> WindowUse:
        """Return the owner's budget for `window`; if `window` is None, the owner's only budget.

        Raises NotThere if there is none, and NotAllowed if there are several.
        """
        spender = (await spender_names(connection, team)).spender(team, owner)
        uses = await budgets_of_spender(connection, spender, self._now)
        matching = [use for use in uses if window in (None, use.budget.window)]
        if not matching:
            raise NotThere(
                f"There is no such budget of {owner_text(owner)}. Look at the list of the team's budgets "
                f"(`luma-mcp budgets list {owner.team}`)."
            )
        if len(matching) > 1:
            whose = owner_text(owner)
            raise NotAllowed(f"There are {len(matching)} budgets of {whose}. Name the window: day, week or month.")
        return matching[0]

    async def _changed_budget(
        self, change: Change, team: Team, action: str, before: Budget | None, after: Budget
    ) -> tuple[OwnedBudget, AuditEntry | None]:
        """Return the budget as it is now, and the entry for the audit log.

        The entry is None if nothing has changed, because an earlier attempt was committed.
        """
        uses: Sequence[WindowUse] = await budgets_of_spender(change.connection, after.spender, self._now)
        [use] = [use for use in uses if use.budget.window is after.window]
        owned = OwnedBudget((await spender_names(change.connection, team)).owner(team, after.spender), use)
        if before == use.budget:
            return owned, None
        return owned, _entry(change, action, owned, before, use.budget)


def _entry(change: Change, action: str, owned: OwnedBudget, before: Budget | None, after: Budget | None) -> AuditEntry:
    budget = owned.use.budget
    entry = change.entry(
        action,
        f"{budget.window} of {owner_text(owned.owner)}",
        before=_audited_fields(before, after),
        after=_audited_fields(after, before),
        team_id=budget.spender.team,
        member_id=budget.spender.member,
        key_id=owned.owner.key,
    )
    return replace(entry, amount=budget.amount, unit=budget.unit)


def _audited_fields(budget: Budget | None, other: Budget | None) -> dict[str, Any] | None:
    """Return the values of a budget for the audit log. If `other` is given, return only those that differ from it."""
    if budget is None:
        return None
    values, others = _values(budget), {} if other is None else _values(other)
    return {name: value for name, value in values.items() if other is None or others[name] != value}


def _values(budget: Budget) -> dict[str, Any]:
    """Return the values of a budget that the audit log records."""
    return {
        "amount": amount_text(budget.amount),
        "unit": budget.unit,
        "soft": budget.is_soft,
        "alert_host": budget.alert and budget.alert.host,
        "raised_by": amount_text(budget.raised_by) if budget.raised_by else None,
        "raise_ends_at": budget.raised_until,
    }
