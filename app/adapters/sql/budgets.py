"""Sets, raises, removes and reads budgets. Each function runs in a transaction of its caller."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.budget_rows import (
    counting_condition,
    current_windows,
    empty_window,
    owner_condition,
    successors,
    with_usage,
)
from app.adapters.sql.budget_tables import budget_windows, budgets, ledger
from app.adapters.sql.engine import SqlClock, database_now
from app.adapters.sql.inserts import insert_into
from app.domain.budget import Budget, EntryState, Spender, WindowUse, threshold_passed


async def put_budget(connection: AsyncConnection, new: Budget, now: SqlClock = database_now) -> Budget | None:
    """Set a budget, and return the budget that it replaces, or None. A spender has one budget for each kind of window.

    The new budget continues the count of the old one. If there was none, or one in another unit, the count starts with
    the ledger's entries in the current window. It may miss a purchase that is recorded at the same time.
    """
    condition = and_(owner_condition(new.spender), budgets.c.window == new.window)
    current = await current_windows(connection, new.spender.team, condition, now)
    earlier = current.windows[0].budget if current.windows else None
    if earlier is not None and earlier.unit == new.unit:
        await connection.execute(update(budgets).where(budgets.c.id == earlier.id).values(_values(new)))
        return earlier
    if earlier is not None:
        await _delete(connection, earlier)
    await connection.execute(budgets.insert().values(id=new.id, created_at=current.moment, **_values(new)))
    await _count_existing_entries(connection, empty_window(new, current.moment, current.zone))
    return earlier


def new_budget_id() -> str:
    """Return the id of a new budget."""
    return secrets.token_hex(6)


async def raise_budget(connection: AsyncConnection, budget: Budget, by: int, until: float) -> Budget:
    """Raise a budget by `by` until `until` (Unix seconds), and return it. This replaces an earlier raise."""
    values = {"raised_by": by, "raised_until": until}
    await connection.execute(update(budgets).where(budgets.c.id == budget.id).values(values))
    return replace(budget, raised_by=by, raised_until=until)


async def remove_budget(connection: AsyncConnection, budget: Budget) -> None:
    """Remove a budget and its count. Unsettled purchases are then settled without it."""
    await _delete(connection, budget)


async def budgets_of_team(connection: AsyncConnection, team: str, now: SqlClock = database_now) -> list[WindowUse]:
    """Return every budget of a team with the usage of its current window."""
    current = await current_windows(connection, team, budgets.c.team_id == team, now)
    return await with_usage(connection, current.windows)


async def budgets_of_spender(
    connection: AsyncConnection, spender: Spender, now: SqlClock = database_now
) -> list[WindowUse]:
    """Return the budgets of exactly this team, member or key, each with the usage of its current window."""
    current = await current_windows(connection, spender.team, owner_condition(spender), now)
    return await with_usage(connection, current.windows)


async def budgets_counting(
    connection: AsyncConnection, spender: Spender, now: SqlClock = database_now
) -> list[WindowUse]:
    """Return the budgets that count the purchases of `spender`, each with the usage of its current window."""
    current = await current_windows(connection, spender.team, counting_condition(spender), now)
    return await with_usage(connection, current.windows)


async def insert_missing_windows(connection: AsyncConnection, team: str, now: SqlClock = database_now) -> None:
    """Insert the row of each current window that has none, after the team's time zone has changed.

    The row has the amounts of the ledger's entries in the window.
    """
    current = await current_windows(connection, team, budgets.c.team_id == team, now)
    budget_ids = [window.budget.id for window in current.windows]
    query = select(budget_windows.c.budget_id, budget_windows.c.window_start)
    rows = await connection.execute(query.where(budget_windows.c.budget_id.in_(budget_ids)))
    with_rows = {(row.budget_id, row.window_start) for row in rows}
    for window in current.windows:
        if (window.budget.id, window.start) not in with_rows:
            await _count_existing_entries(connection, window)


async def _delete(connection: AsyncConnection, budget: Budget) -> None:
    await connection.execute(delete(budgets).where(budgets.c.id == budget.id))
    await connection.execute(delete(budget_windows).where(budget_windows.c.budget_id == budget.id))


async def _count_existing_entries(connection: AsyncConnection, window: WindowUse) -> None:
    """Insert the row of a window with the amounts of the ledger's entries in it.

    Reserved entries are locked and linked to the window, so that their later settlement also counts in it.
    """
    conditions = [*_entry_conditions(window.budget), ledger.c.created_at >= window.start]
    query = select(ledger.c.id, ledger.c.amount, ledger.c.windows).where(
        *conditions, ledger.c.state == EntryState.RESERVED
    )
    entries = (await connection.execute(query.order_by(ledger.c.id).with_for_update())).all()
    for entry in entries:
        windows = [*entry.windows, [window.budget.id, window.start]]
        await connection.execute(update(ledger).where(ledger.c.id == entry.id).values(windows=windows))
    charged = select(func.sum(ledger.c.amount)).where(*conditions, ledger.c.state == EntryState.TAKEN)
    spent = int((await connection.execute(charged)).scalar() or 0)
    reserved = sum(entry.amount for entry in entries)
    passed_percent = threshold_passed(spent + reserved, window.limit, 0) or 0  # no alert is written for it
    row = {"budget_id": window.budget.id, "window_start": window.start, "told": passed_percent}
    statement = insert_into(connection, budget_windows).values(spent=spent, reserved=reserved, **row)
    await connection.execute(statement)


def _entry_conditions(budget: Budget) -> Sequence[ColumnElement[bool]]:
    spender = budget.spender
    conditions = [ledger.c.team_id == spender.team, ledger.c.unit == budget.unit]
    if spender.member is not None:
        conditions.append(ledger.c.member_id == spender.member)
    if spender.key is not None:
        conditions.append(ledger.c.key_id.in_(successors(spender.key)))
    return conditions


def _values(budget: Budget) -> dict[str, object]:
    return {
        "team_id": budget.spender.team,
        "member_id": budget.spender.member or "",
        "key_id": budget.spender.key or "",
        "window": budget.window,
        "amount": budget.amount,
        "unit": budget.unit,
        "is_soft": budget.is_soft,
        "alert_sealed": budget.alert and budget.alert.sealed,
        "alert_host": budget.alert and budget.alert.host,
        "raised_by": budget.raised_by,
        "raised_until": budget.raised_until,
    }
