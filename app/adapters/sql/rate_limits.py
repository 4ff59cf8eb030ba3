"""The administration of rate limits and concurrency limits, in SQL for both SQLite and PostgreSQL."""

from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Administration, Change, team_named
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.rate_limit_tables import rate_limits
from app.adapters.sql.spender_names import owner_text, spender_names
from app.domain.budget import Spender
from app.domain.rate_limit import NO_LIMITS, LimitKind, Limits
from app.domain.teams import Actor, AuditEntry
from app.ports.budgets import BudgetOwner
from app.ports.directory import NotThere
from app.ports.rate_limits import OwnedLimits


class SqlTeamLimits:
    """The rate and concurrency limits of teams, members and keys in one database.

    Every method raises DatabaseUnavailable. Every change writes an entry of the audit log, unless nothing has changed.
    """

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL expression for the time of changes."""
        self._database = database
        self._administration = Administration(database, now)

    async def set(self, owner: BudgetOwner, limits: Limits, actor: Actor) -> OwnedLimits:
        """Set the limits that are not None, and return all limits of the owner.

        Raises NotThere if the team, the member or the key does not exist.
        """
        changes = {kind.value: maximum for kind, maximum in limits.by_kind().items() if maximum is not None}
        return await self._update("limits.set", owner, actor, lambda current: replace(current, **changes))

    async def of_team(self, team_name: str) -> list[OwnedLimits]:
        """Return all limits in a team: first its own, then those of members and of keys.

        Raises NotThere if the team does not exist.
        """

        async def operation(connection: AsyncConnection) -> list[OwnedLimits]:
            team = await team_named(connection, team_name)
            names = await spender_names(connection, team)
            rows = await connection.execute(select(rate_limits).where(rate_limits.c.team_id == team.id))
            owned = [OwnedLimits(names.owner(team, _spender(row)), _limits(row)) for row in rows]
            return sorted(owned, key=lambda entry: (entry.owner.key or "", entry.owner.member or ""))

        return await self._database.run(operation)

    async def remove(self, owner: BudgetOwner, kinds: Collection[LimitKind], actor: Actor) -> OwnedLimits:
        """Remove the limits of these kinds, and return the remaining limits of the owner.

        Raises NotThere if the owner has none of these limits, or does not exist.
        """
        removed = {kind.value: None for kind in kinds}

        def without_kinds(current: Limits) -> Limits:
            if all(current.by_kind()[kind] is None for kind in kinds):
                raise NotThere(
                    f"There is no limit of {' or '.join(kinds)} for {owner_text(owner)}. Look at the list of the "
                    f"team's limits (`luma-mcp limits list {owner.team}`)."
                )
            return replace(current, **removed)

        return await self._update("limits.remove", owner, actor, without_kinds)

    async def _update(
        self, action: str, owner: BudgetOwner, actor: Actor, new_limits: Callable[[Limits], Limits]
    ) -> OwnedLimits:
        """Call `new_limits` with the owner's current limits, record its result, and return it with the owner."""

        async def operation(change: Change) -> tuple[OwnedLimits, AuditEntry | None]:
            team = await change.team(owner.team)
            names = await spender_names(change.connection, team)
            spender = names.spender(team, owner)
            row = (await change.connection.execute(select(rate_limits).where(_row_condition(spender)))).first()
            before = NO_LIMITS if row is None else _limits(row)
            after = new_limits(before)
            owned = OwnedLimits(names.owner(team, spender), after)
            if after == before:
                return owned, None
            await _put(change.connection, spender, after)
            return owned, _entry(change, action, owned, spender, before)

        return await self._administration.change(actor, operation)


async def _put(connection: AsyncConnection, spender: Spender, limits: Limits) -> None:
    """Replace the row of a spender. If `limits` is NO_LIMITS, only delete the row.

    No other change can come between the two statements, because administrative changes run one at a time.
    """
    await connection.execute(delete(rate_limits).where(_row_condition(spender)))
    if limits != NO_LIMITS:
        await connection.execute(rate_limits.insert().values(_columns(spender) | asdict(limits)))


def _entry(change: Change, action: str, owned: OwnedLimits, spender: Spender, before: Limits) -> AuditEntry:
    earlier, later = asdict(before), asdict(owned.limits)
    names = [name for name in later if earlier[name] != later[name]]
    return change.entry(
        action,
        owner_text(owned.owner),
        before={name: earlier[name] for name in names},
        after={name: later[name] for name in names},
        team_id=spender.team,
        member_id=spender.member,
        key_id=owned.owner.key,
    )


def _columns(spender: Spender) -> dict[str, Any]:
    return {"team_id": spender.team, "member_id": spender.member or "", "key_id": spender.key or ""}


def _row_condition(spender: Spender) -> ColumnElement[bool]:
    return and_(*(rate_limits.c[name] == value for name, value in _columns(spender).items()))


def _spender(row: Row[Any]) -> Spender:
    return Spender(row.team_id, row.member_id or None, row.key_id or None)


def _limits(row: Row[Any]) -> Limits:
    return Limits(row.calls_per_minute, row.generations_per_hour, row.in_flight)
