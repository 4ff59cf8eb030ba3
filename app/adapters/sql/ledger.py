"""The ledger of costs. The price of a purchase is reserved in the windows of the budgets that count it, then settled.

Settling takes the price if it was spent, and gives it back if not. Every function runs in a transaction of its caller,
`Database.run_in_transaction`, which rolls back if a function raises. A price is checked against the amounts in the rows
of windows; entries are not added up. Locks are taken in a fixed order, so that transactions cannot deadlock: rows of
rate limits, the entry, rows of windows by the ids of their budgets.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, func, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.alerts import insert_alert
from app.adapters.sql.budget_rows import CurrentWindows, counting_condition, current_windows, with_row, with_usage
from app.adapters.sql.budget_tables import budget_windows, ledger
from app.adapters.sql.engine import SqlClock, database_now
from app.adapters.sql.inserts import insert_into
from app.adapters.sql.limit_rows import check_in_flight
from app.adapters.sql.tables import purchases
from app.domain.budget import (
    OVERDUE_SECONDS,
    THRESHOLDS,
    BudgetExceeded,
    Charge,
    EntryState,
    PriceUnknown,
    Spender,
    SpendingRefused,
    ThresholdPassed,
    UnsettledEntry,
    WindowUse,
    refusing_window,
    threshold_passed,
)
from app.domain.money import Money

MIN_PAUSE_SECONDS = 60.0
"""Shortest time between two reads of the task of one reservation."""


async def reserve(
    connection: AsyncConnection, attempt: str, charge: Charge, now: SqlClock = database_now
) -> tuple[ThresholdPassed, ...]:
    """Reserve the price of a purchase in every budget that counts it, or in none.

    Return the thresholds that the reservation passes for the first time. An alert is written for each of them. The
    function is idempotent: if the attempt is already reserved, nothing is done, and no threshold is returned. Raises
    InFlightLimitReached, BudgetExceeded, PriceUnknown if there is a budget but no price in its unit, and
    SpendingRefused if the attempt is already settled.
    """
    await check_in_flight(connection, attempt, charge.spender, now)
    price = charge.price
    current = await current_windows(connection, charge.spender.team, counting_condition(charge.spender), now)
    for window in current.windows:
        if price is None or price.unit != window.budget.unit:
            raise PriceUnknown(window.budget, None if price is None else price.unit)
    if not await _insert_entry(connection, attempt, charge, current) or price is None:
        return ()
    indexes = range(len(current.windows))
    thresholds = [
        threshold for index in indexes if (threshold := await _reserve_in(connection, current.windows[index:], price))
    ]
    for threshold in thresholds:
        await insert_alert(connection, threshold, now)
    return tuple(thresholds)


async def mark_exhausted(
    connection: AsyncConnection, use: WindowUse, now: SqlClock = database_now
) -> ThresholdPassed | None:
    """Record that a window has passed 100 %, because it has refused a purchase, and write the alert.

    Return the passed threshold; None if it was recorded before. Without this function, 100 % would rarely be passed,
    because prices do not fill a budget to its last millionth. It needs a transaction of its own, because the refusal
    has rolled back the purchase's transaction.
    """
    await _insert_missing_row(connection, use)
    # `told` is the highest threshold recorded before, in percent
    condition = and_(_row_condition(use), budget_windows.c.told < THRESHOLDS[-1])
    result = await connection.execute(update(budget_windows).where(condition).values(told=THRESHOLDS[-1]))
    if not result.rowcount:
        return None
    threshold = ThresholdPassed(use, THRESHOLDS[-1])
    await insert_alert(connection, threshold, now)
    return threshold


async def record_task_id(connection: AsyncConnection, attempt: str, task_id: str) -> None:
    """Record the task id of a purchase. The outcome of the task will settle the reservation."""
    await connection.execute(update(ledger).where(ledger.c.attempt == attempt).values(task_id=task_id))


async def take(
    connection: AsyncConnection, attempt: str, task_id: str | None = None, now: SqlClock = database_now
) -> bool:
    """Move the reserved amount to the spent amount, once. Return whether it was still reserved.

    The amounts change in the windows in which the price was reserved, even if these windows have ended.
    """
    return await _settle(connection, attempt, EntryState.TAKEN, task_id, now)


async def give_back(connection: AsyncConnection, attempt: str, now: SqlClock = database_now) -> bool:
    """Release the reserved amount, once. Return whether it was still reserved."""
    return await _settle(connection, attempt, EntryState.GIVEN_BACK, None, now)


async def settle_task(
    connection: AsyncConnection, team: str, task_id: str, *, is_paid: bool, now: SqlClock = database_now
) -> bool:
    """Take or give back the amount reserved for a team's task. Return whether it was still reserved."""
    condition = and_(ledger.c.team_id == team, ledger.c.task_id == task_id, ledger.c.state == EntryState.RESERVED)
    attempts = (await connection.execute(select(ledger.c.attempt).where(condition))).scalars().all()
    settle = take if is_paid else give_back
    return any([await settle(connection, attempt, now=now) for attempt in attempts])


async def take_overdue(connection: AsyncConnection, limit: int, now: SqlClock = database_now) -> list[UnsettledEntry]:
    """Claim and return at most `limit` overdue reservations, whose tasks are to be read.

    No reservation is returned to two callers. Each is due again after a tenth of its age, and at least a minute.
    """
    is_due = and_(ledger.c.state == EntryState.RESERVED, ledger.c.ask_at <= now())
    query = select(*ledger.c, ledger.c.task_id.label("known_task"), (now() - ledger.c.created_at).label("age_seconds"))
    rows = (await connection.execute(query.where(is_due).order_by(ledger.c.ask_at, ledger.c.id).limit(limit))).all()
    claimed = []
    for row in rows:
        unchanged = and_(ledger.c.id == row.id, ledger.c.ask_at == row.ask_at)
        ask_at = now() + max(row.age_seconds / 10, MIN_PAUSE_SECONDS)
        if (await connection.execute(update(ledger).where(unchanged).values(ask_at=ask_at))).rowcount:
            claimed.append(_unsettled(row))
    return claimed


async def unsettled(
    connection: AsyncConnection,
    older_than_seconds: float,
    limit: int,
    team: str | None = None,
    now: SqlClock = database_now,
) -> list[UnsettledEntry]:
    """Return at most `limit` reservations older than `older_than_seconds`, the oldest first.

    `team` is the id of a team; None means all teams.
    """
    task_id = func.coalesce(ledger.c.task_id, purchases.c.task_id).label("known_task")
    conditions = [ledger.c.state == EntryState.RESERVED, ledger.c.created_at < now() - older_than_seconds]
    if team is not None:
        conditions.append(ledger.c.team_id == team)
    result = await connection.execute(
        select(*ledger.c, task_id, (now() - ledger.c.created_at).label("age_seconds"))
        .select_from(ledger.outerjoin(purchases, purchases.c.attempt == ledger.c.attempt))
        .where(*conditions)
        .order_by(ledger.c.created_at, ledger.c.id)
        .limit(limit)
    )
    return [_unsettled(row) for row in result]


async def _insert_entry(connection: AsyncConnection, attempt: str, charge: Charge, current: CurrentWindows) -> bool:
    """Insert the entry of an attempt, and return whether it is new. Raises SpendingRefused if it is already settled."""
    insertion = insert_into(connection, ledger).values(
        attempt=attempt,
        team_id=charge.spender.team,
        member_id=charge.spender.member,
        key_id=charge.spender.key,
        amount=charge.price and charge.price.amount,
        unit=charge.price and charge.price.unit,
        request_id=charge.request_id,
        state=EntryState.RESERVED,
        windows=[[window.budget.id, window.start] for window in current.windows],
        created_at=current.moment,
        ask_at=current.moment + OVERDUE_SECONDS,
    )
    result = await connection.execute(insertion.on_conflict_do_nothing().returning(ledger.c.id))
    if result.first() is not None:
        return True
    state = (await connection.execute(select(ledger.c.state).where(ledger.c.attempt == attempt))).scalar()
    if state != EntryState.RESERVED:
        raise SpendingRefused("This attempt to buy has ended before.")
    return False


async def _reserve_in(
    connection: AsyncConnection, windows: Sequence[WindowUse], price: Money
) -> ThresholdPassed | None:
    """Reserve the price in the first of `windows`. Record and return the threshold that is passed; None if none is.

    Raises BudgetExceeded with the refusing window that renews last. The other windows, in which the price is not
    reserved yet, are given only for this exception.
    """
    window = windows[0]
    row = await _try_reserve(connection, window, price.amount)
    if row is None:
        await _insert_missing_row(connection, window)
        row = await _try_reserve(connection, window, price.amount)
    if row is None:
        uses = await with_usage(connection, windows)
        raise BudgetExceeded(refusing_window(uses, price.amount) or uses[0], price)
    use = with_row(window, row)
    percent = threshold_passed(use.spent + use.reserved, use.limit, row.told)
    if percent is None:
        return None
    await connection.execute(update(budget_windows).where(_row_condition(window)).values(told=percent))
    return ThresholdPassed(use, percent)


async def _try_reserve(connection: AsyncConnection, window: WindowUse, amount: int) -> Row[Any] | None:
    """Reserve `amount` in one statement, and return the changed row; None if there is no row, or not enough room."""
    columns = budget_windows.c
    conditions = [_row_condition(window)]
    if not window.budget.is_soft:
        conditions.append(columns.spent + columns.reserved + amount <= window.limit)
    statement = update(budget_windows).where(*conditions).values(reserved=columns.reserved + amount)
    return (await connection.execute(statement.returning(*columns))).first()


async def _insert_missing_row(connection: AsyncConnection, window: WindowUse) -> None:
    """Insert the row of a window unless it exists. This waits for a transaction that is inserting the same row."""
    insertion = insert_into(connection, budget_windows).values(
        budget_id=window.budget.id, window_start=window.start, spent=0, reserved=0, told=0
    )
    await connection.execute(insertion.on_conflict_do_nothing())


async def _settle(
    connection: AsyncConnection, attempt: str, state: EntryState, task_id: str | None, now: SqlClock
) -> bool:
    condition = and_(ledger.c.attempt == attempt, ledger.c.state == EntryState.RESERVED)
    values: dict[str, Any] = {"state": state, "settled_at": now()}
    if task_id is not None:
        values["task_id"] = task_id
    statement = update(ledger).where(condition).values(values).returning(ledger.c.amount, ledger.c.windows)
    entry = (await connection.execute(statement)).first()
    if entry is None:
        return False
    moved = {"reserved": budget_windows.c.reserved - entry.amount} if entry.amount else {}
    if state is EntryState.TAKEN and moved:
        moved["spent"] = budget_windows.c.spent + entry.amount
    for budget_id, start in sorted(entry.windows) if moved else ():
        is_row = and_(budget_windows.c.budget_id == budget_id, budget_windows.c.window_start == start)
        await connection.execute(update(budget_windows).where(is_row).values(moved))
    return True


def _row_condition(window: WindowUse) -> Any:
    return and_(budget_windows.c.budget_id == window.budget.id, budget_windows.c.window_start == window.start)


def _unsettled(row: Any) -> UnsettledEntry:
    return UnsettledEntry(
        attempt=row.attempt,
        spender=Spender(row.team_id, row.member_id, row.key_id),
        price=None if row.amount is None else Money(row.amount, row.unit),
        task_id=row.known_task,
        created_at=row.created_at,
        age_seconds=max(row.age_seconds, 0.0),
    )
