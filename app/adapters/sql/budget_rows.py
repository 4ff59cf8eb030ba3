"""Reads budgets and their windows, for the ledger and for administration.

A rotation replaces a key by one with a new secret and a new id, and both keys may be in use for a while. So the budget
of a key belongs to the first key in a chain of rotations, and also counts the purchases with the later keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, Select, String, and_, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.budget_tables import budget_windows, budgets
from app.adapters.sql.directory_tables import api_keys, teams
from app.adapters.sql.engine import SqlClock
from app.domain.budget import AlertTarget, Budget, Spender, SpendingRefused, WindowUse
from app.domain.calendar import Window, time_zone, window_at


@dataclass(frozen=True, slots=True)
class CurrentWindows:
    """The windows of some budgets that contain one moment.

    Attributes:
        moment: Unix seconds by the database's clock.
        zone: the team's time zone.
        windows: the windows, ordered by the ids of their budgets, with 0 as spent and reserved amounts.

    """

    moment: float
    zone: ZoneInfo
    windows: tuple[WindowUse, ...]


def counting_condition(spender: Spender) -> ColumnElement[bool]:
    """Return the SQL condition for budgets that count a purchase of `spender`: those of its team, member and key."""
    whole_team = and_(budgets.c.member_id == "", budgets.c.key_id == "")
    alternatives = [whole_team]
    if spender.member is not None:
        alternatives.append(budgets.c.member_id == spender.member)
    if spender.key is not None:
        alternatives.append(budgets.c.key_id.in_(predecessors(spender.key)))
    return or_(*alternatives)


def predecessors(key: str) -> Select[Any]:
    """Return the query for the ids of a key and of the keys that it has replaced by rotations."""
    chain = select(literal(key, String(32)).label("id")).cte("predecessors", recursive=True)
    before = select(api_keys.c.id).join(chain, api_keys.c.replaced_by == chain.c.id)
    return select(chain.union(before).c.id)


def successors(key: str) -> Select[Any]:
    """Return the query for the ids of a key and of the keys that have replaced it by rotations."""
    chain = select(literal(key, String(32)).label("id")).cte("successors", recursive=True)
    after = select(api_keys.c.replaced_by).join(chain, api_keys.c.id == chain.c.id)
    return select(chain.union(after.where(api_keys.c.replaced_by.is_not(None))).c.id)


def owner_condition(spender: Spender) -> ColumnElement[bool]:
    """Return the SQL condition for the budgets of exactly this team, member or key."""
    return and_(
        budgets.c.team_id == spender.team,
        budgets.c.member_id == (spender.member or ""),
        budgets.c.key_id == (spender.key or ""),
    )


async def current_windows(
    connection: AsyncConnection, team: str, condition: ColumnElement[bool], now: SqlClock
) -> CurrentWindows:
    """Return the team's budgets that fulfil `condition`, with their current windows.

    Raises SpendingRefused if the team does not exist.
    """
    of_team = and_(budgets.c.team_id == teams.c.id, condition)
    result = await connection.execute(
        select(now().label("moment"), teams.c.timezone, *budgets.c)
        .select_from(teams.outerjoin(budgets, of_team))
        .where(teams.c.id == team)
    )
    if not (rows := result.all()):
        raise SpendingRefused("There is no such team.")
    moment, zone = rows[0].moment, time_zone(rows[0].timezone)
    team_budgets = sorted((budget_of(row) for row in rows if row.id is not None), key=lambda budget: budget.id)
    return CurrentWindows(moment, zone, tuple(empty_window(budget, moment, zone) for budget in team_budgets))


def empty_window(budget: Budget, moment: float, zone: ZoneInfo) -> WindowUse:
    """Return the budget's window that contains `moment`, with 0 as spent and reserved amounts."""
    interval = window_at(budget.window, moment, zone)
    return WindowUse(budget, budget.cap(moment), 0, 0, interval.start, interval.end)


async def with_usage(connection: AsyncConnection, windows: Sequence[WindowUse]) -> list[WindowUse]:
    """Return the windows with their spent and reserved amounts, in the same order."""
    if not windows:
        return []
    window_keys = [(window.budget.id, window.start) for window in windows]
    key_columns = tuple_(budget_windows.c.budget_id, budget_windows.c.window_start)
    result = await connection.execute(select(budget_windows).where(key_columns.in_(window_keys)))
    rows = {(row.budget_id, row.window_start): row for row in result}
    return [with_row(window, rows.get((window.budget.id, window.start))) for window in windows]


def with_row(window: WindowUse, row: Row[Any] | None) -> WindowUse:
    """Return the window with the amounts in its row, or with 0 if it has no row."""
    spent, reserved = (0, 0) if row is None else (row.spent, row.reserved)
    return WindowUse(window.budget, window.limit, spent, reserved, window.start, window.renews_at)


def budget_of(row: Row[Any]) -> Budget:
    """Return the budget in a row of `budgets`."""
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
