"""Sums of the ledger's entries by member, key or day. Entries that were given back are left out."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Float, Row, String, and_, case, column, func, null, select, values
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.budget_tables import ledger
from app.adapters.sql.directory_tables import members, teams
from app.adapters.sql.engine import SqlClock
from app.domain.budget import EntryState, MonthSpent, Spender, Spent
from app.domain.calendar import Window, start_of_day, time_zone, window_at
from app.domain.teams import Team
from app.ports.budgets import Spending, SpendingGroup


async def spending(
    connection: AsyncConnection, team: Team, days: Sequence[date], by: SpendingGroup | None, zone: ZoneInfo
) -> list[Spending]:
    """Return a team's spending in `days`, which are consecutive, in groups by `by` and unit, ordered by name."""
    condition = and_(
        ledger.c.team_id == team.id,
        ledger.c.state != EntryState.GIVEN_BACK,
        ledger.c.created_at >= start_of_day(days[0], zone),
    )
    name, tables = _group_source(by, days, zone)
    result = await connection.execute(
        select(
            name.label("name"),
            ledger.c.unit,
            func.count().label("generations"),
            _sum(EntryState.TAKEN).label("spent"),
            _sum(EntryState.RESERVED).label("reserved"),
        )
        .select_from(tables)
        .where(condition)
        .group_by(*(() if by is None else (name,)), ledger.c.unit)
    )
    rows = [Spending(row.name, row.unit, row.generations, int(row.spent), int(row.reserved)) for row in result]
    return sorted(rows, key=lambda row: (row.name or "", row.unit or ""))


async def spent_this_month(
    connection: AsyncConnection, spender: Spender, unit: str | None, now: SqlClock
) -> MonthSpent:
    """Return the spending of the team and the member in `unit` since the start of the month in the team's time zone."""
    query = select(now().label("moment"), teams.c.timezone).where(teams.c.id == spender.team)
    team = (await connection.execute(query)).one()
    since = window_at(Window.MONTH, team.moment, time_zone(team.timezone)).start
    is_mine = case((ledger.c.member_id == spender.member, 1), else_=0).label("is_mine")
    sums = select(is_mine, func.count().label("generations"), _sum(EntryState.TAKEN), _sum(EntryState.RESERVED))
    condition = and_(
        ledger.c.team_id == spender.team,
        ledger.c.unit == unit,
        ledger.c.created_at >= since,
        ledger.c.state != EntryState.GIVEN_BACK,
    )
    rows = (await connection.execute(sums.where(condition).group_by(is_mine))).all()
    return MonthSpent(since, _total(row for row in rows if row.is_mine), _total(rows))


def _total(rows: Iterable[Row[Any]]) -> Spent:
    """Return the sums of generations, spent and reserved amounts, the columns 1 to 3 of `rows`."""
    all_rows = list(rows)
    return Spent(*(sum(int(row[index]) for row in all_rows) for index in (1, 2, 3)))


def days_from(first: date, last: date) -> list[date]:
    """Return the days from `first` to `last`, at least one."""
    return [first + timedelta(days=number) for number in range(max((last - first).days, 0) + 1)]


def _sum(state: EntryState) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((ledger.c.state == state, ledger.c.amount), else_=0)), 0)


def _group_source(by: SpendingGroup | None, days: Sequence[date], zone: ZoneInfo) -> tuple[ColumnElement[Any], Any]:
    """Return the SQL expression of a group's name, and the tables to select from."""
    match by:
        case None:
            return null(), ledger
        case SpendingGroup.MEMBER:
            return members.c.name, ledger.outerjoin(members, members.c.id == ledger.c.member_id)
        case SpendingGroup.KEY:
            return ledger.c.key_id, ledger
    bounds = values(column("name", String(10)), column("start", Float(53)), column("until", Float(53)), name="bounds")
    spans = [(str(day), start_of_day(day, zone), start_of_day(day + timedelta(days=1), zone)) for day in days]
    table = bounds.data(spans).cte("days")
    is_in = and_(ledger.c.created_at >= table.c.start, ledger.c.created_at < table.c.until)
    return table.c.name, ledger.join(table, is_in)
