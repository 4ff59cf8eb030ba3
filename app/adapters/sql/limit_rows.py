"""Reads rate limits, and checks the limit of generations in flight by counting entries of the ledger.

Like a budget, the limit of a key belongs to the first key in a chain of rotations, and counts later keys of the chain.
"""

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.budget_rows import predecessors, successors
from app.adapters.sql.budget_tables import ledger
from app.adapters.sql.engine import SqlClock, database_now
from app.adapters.sql.rate_limit_tables import rate_limits
from app.domain.budget import OVERDUE_SECONDS, EntryState, Spender
from app.domain.rate_limit import WINDOW_SECONDS, InFlightLimitReached, LimitKind, LimitLevel, LimitUse, RateLimit


async def window_limits(connection: AsyncConnection, spender: Spender) -> tuple[RateLimit, ...]:
    """Return the limits with a time window that apply to `spender`: those of its key, member and team."""
    rows = await connection.execute(select(rate_limits).where(_applying(spender)))
    return tuple(limit for row in rows for limit in _window_limits(row))


async def limited_teams(connection: AsyncConnection, team_ids: Collection[str]) -> set[str]:
    """Return the ids of the teams that have any limit, of their own, of a member or of a key."""
    result = await connection.execute(select(rate_limits.c.team_id).where(rate_limits.c.team_id.in_(team_ids)))
    return set(result.scalars())


async def check_in_flight(
    connection: AsyncConnection, attempt: str, spender: Spender, now: SqlClock = database_now
) -> None:
    """Raise InFlightLimitReached if one of the limits that apply to `spender` has no room for another generation.

    `attempt` is the purchase that is being claimed. It is not counted, because an earlier attempt of the same claim may
    have inserted its entry. A reservation is counted up to the age OVERDUE_SECONDS, at which the backend has abandoned
    its task, although it exists for longer if the outcome stays unknown. The rows of the limits are locked until the
    end of the transaction, so that concurrent claims count each other.
    """
    condition = _applying(spender) & rate_limits.c.in_flight.is_not(None)
    query = select(rate_limits).where(condition).order_by(rate_limits.c.member_id, rate_limits.c.key_id)
    for row in (await connection.execute(query.with_for_update())).all():
        if await _in_flight(connection, row, now, ledger.c.attempt != attempt) >= row.in_flight:
            raise InFlightLimitReached(_level(row), row.in_flight)


async def in_flight_use(
    connection: AsyncConnection, spender: Spender, now: SqlClock = database_now
) -> tuple[LimitUse, ...]:
    """Return the use of the limits of generations in flight that apply to `spender`."""
    condition = _applying(spender) & rate_limits.c.in_flight.is_not(None)
    rows = (await connection.execute(select(rate_limits).where(condition))).all()
    counts = [await _in_flight(connection, row, now) for row in rows]
    return tuple(
        LimitUse(LimitKind.IN_FLIGHT, _level(row), row.in_flight, used) for row, used in zip(rows, counts, strict=True)
    )


async def _in_flight(
    connection: AsyncConnection, row: Row[Any], now: SqlClock, *conditions: ColumnElement[bool]
) -> int:
    """Return the number of generations in flight that the limits in a row count."""
    query = select(func.count()).where(
        _counted_by(row),
        ledger.c.state == EntryState.RESERVED,
        ledger.c.created_at > now() - OVERDUE_SECONDS,
        *conditions,
    )
    return int((await connection.execute(query)).scalar_one())


def _applying(spender: Spender) -> ColumnElement[bool]:
    """Return the SQL condition for the limits that apply to `spender`."""
    alternatives = [and_(rate_limits.c.member_id == "", rate_limits.c.key_id == "")]
    if spender.member is not None:
        alternatives.append(rate_limits.c.member_id == spender.member)
    if spender.key is not None:
        alternatives.append(rate_limits.c.key_id.in_(predecessors(spender.key)))
    return and_(rate_limits.c.team_id == spender.team, or_(*alternatives))


def _counted_by(row: Row[Any]) -> ColumnElement[bool]:
    """Return the SQL condition for the entries of the ledger that the limits in a row count."""
    of_team = ledger.c.team_id == row.team_id
    if row.key_id:
        return and_(of_team, ledger.c.key_id.in_(successors(row.key_id)))
    return and_(of_team, ledger.c.member_id == row.member_id) if row.member_id else of_team


def _window_limits(row: Row[Any]) -> Iterator[RateLimit]:
    for kind in WINDOW_SECONDS:
        maximum = getattr(row, kind.value)
        if maximum is not None:
            yield RateLimit(kind, _level(row), row.key_id or row.member_id or row.team_id, maximum)


def _level(row: Row[Any]) -> LimitLevel:
    if row.key_id:
        return LimitLevel.KEY
    return LimitLevel.MEMBER if row.member_id else LimitLevel.TEAM
