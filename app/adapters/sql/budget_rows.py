"""Reading budgets and their windows, for the ledger and for administration alike.

A budget of a key counts what its successors spend too, and stays on the first key of the line: a rotation makes a new
secret and a new id, and both may be in use for a while.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, Select, String, and_, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.budget_tables import budget_windows, budgets
from app.adapters.sql.directory_tables import api_keys, teams
from app.adapters.sql.engine import SqlClock
from app.domain.budget import AlertTarget, Budget, Spender, SpendingRefused, WindowUse
from app.domain.calendar import Window, time_zone, window_at


@dataclass(frozen=True, slots=True)
class Applicable:
    """The budgets that count something, in the order of their ids, at one moment.

    Attributes:
        moment: unix seconds by the database's clock.
        zone: the team's time zone.
        windows: the windows that hold the moment; nothing is known yet of what they have used.

    """

    moment: float
    zone: ZoneInfo
    windows: tuple[WindowUse, ...]


def counting(spender: Spender) -> ColumnElement[bool]:
    """Return what holds for the budgets that count a purchase of `spender`: its team's, its member's and its key's."""
    whole_team = and_(budgets.c.member_id == "", budgets.c.key_id == "")
    ways = [whole_team]
    if spender.member is not None:
        ways.append(budgets.c.member_id == spender.member)
    if spender.key is not None:
        ways.append(budgets.c.key_id.in_(predecessors(spender.key)))
    return or_(*ways)


def predecessors(key: str) -> Select[Any]:
    """Return the ids of a key and of those in whose place rotations put it."""
    line = select(literal(key, String(32)).label("id")).cte("predecessors", recursive=True)
    before = select(api_keys.c.id).join(line, api_keys.c.replaced_by == line.c.id)
    return select(line.union(before).c.id)


def successors(key: str) -> Select[Any]:
    """Return the ids of a key and of those that rotations put in its place."""
    line = select(literal(key, String(32)).label("id")).cte("successors", recursive=True)
    after = select(api_keys.c.replaced_by).join(line, api_keys.c.id == line.c.id)
    return select(line.union(after.where(api_keys.c.replaced_by.is_not(None))).c.id)


def of(spender: Spender) -> ColumnElement[bool]:
    """Return what holds for the budgets of `spender` itself."""
    return and_(
        budgets.c.team_id == spender.team,
        budgets.c.member_id == (spender.member or ""),
        budgets.c.key_id == (spender.key or ""),
    )


async def applicable(connection: AsyncConnection, team: str, wanted: ColumnElement[bool], now: SqlClock) -> Applicable:
    """Return the `wanted` budgets of a team with their present windows. Raises SpendingRefused without such a team."""
    of_team = and_(budgets.c.team_id == teams.c.id, wanted)
    found = await connection.execute(
        select(now().label("moment"), teams.c.timezone, *budgets.c)
        .select_from(teams.outerjoin(budgets, of_team))
        .where(teams.c.id == team)
    )
    if not (rows := found.all()):
        raise SpendingRefused("There is no such team.")
    moment, zone = rows[0].moment, time_zone(rows[0].timezone)
    found_budgets = sorted((budget(row) for row in rows if row.id is not None), key=lambda one: one.id)
    return Applicable(moment, zone, tuple(unused(one, moment, zone) for one in found_budgets))


def unused(budget: Budget, moment: float, zone: ZoneInfo) -> WindowUse:
    """Return the budget's window that holds `moment`, as if nothing were used."""
    interval = window_at(budget.window, moment, zone)
    return WindowUse(budget, budget.cap(moment), 0, 0, interval.start, interval.end)


async def used(connection: AsyncConnection, windows: Sequence[WindowUse]) -> list[WindowUse]:
    """Return the windows with what they have used, in the same order."""
    if not windows:
        return []
    wanted = [(one.budget.id, one.start) for one in windows]
    place = tuple_(budget_windows.c.budget_id, budget_windows.c.window_start)
    found = await connection.execute(select(budget_windows).where(place.in_(wanted)))
    rows = {(row.budget_id, row.window_start): row for row in found}
    return [with_use(one, rows.get((one.budget.id, one.start))) for one in windows]


def with_use(window: WindowUse, row: Row[Any] | None) -> WindowUse:
    """Return the window with what its row says; without a row, it is unused."""
    spent, reserved = (0, 0) if row is None else (row.spent, row.reserved)
    return WindowUse(window.budget, window.limit, spent, reserved, window.start, window.renews_at)


def budget(row: Row[Any]) -> Budget:
    """Return the budget that a row of its table holds."""
    return Budget(
        id=row.id,
        spender=Spender(row.team_id, row.member_id or None, row.key_id or None),
        amount=row.amount,
        unit=row.unit,
        window=Window(row.window),
        is_soft=row.is_soft,
        alert=row.alert_sealed and AlertTarget(row.alert_sealed, row.alert_host),
        raised_by=row.raised_by,
        raised_until=row.raised_until,
    )
