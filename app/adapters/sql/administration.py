"""Administrative changes. Each one is a transaction that also writes the audit log and increments the version."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Row, String, cast, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.directory_tables import audit, members, teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.tables import service
from app.domain.teams import Actor, AuditEntry, Member, Team
from app.ports.directory import NotThere

VERSION = "directory_version"
"""The name of the row in `service` with the version of the directory, a count of the changes."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """The transaction of a change: its connection, its actor, and its time in Unix seconds.

    The transaction has locked the row of the version, so no other change runs at the same time.
    """

    connection: AsyncConnection
    actor: Actor
    now: float

    def entry(  # noqa: PLR0913 - the columns of an entry
        self,
        action: str,
        subject: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        team_id: str | None = None,
        member_id: str | None = None,
        key_id: str | None = None,
    ) -> AuditEntry:
        """Return the entry of the audit log for this change."""
        return AuditEntry(
            self.actor.name,
            action,
            subject,
            team_id=team_id,
            member_id=member_id,
            key_id=key_id,
            before=before,
            after=after,
            request_id=self.actor.request_id,
            at=self.now,
        )

    async def team(self, name: str) -> Team:
        """Return the team of this name. Raises NotThere."""
        return await team_named(self.connection, name)

    async def member(self, team: Team, name: str) -> Member:
        """Return the member of a team, unless it was removed. Raises NotThere."""
        conditions = members.c.team_id == team.id, members.c.name == name
        query = select(members).where(*conditions, members.c.removed_at.is_(None))
        if (row := (await self.connection.execute(query)).first()) is None:
            raise NotThere(f"Team {team.name} has no member {name}. Look at the list of its members.")
        return member_of(row)


class Administration:
    """Runs administrative changes on one database, one at a time among all processes."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._now = now

    async def change(self, actor: Actor, operation: Callable[[Change], Awaitable[tuple[T, AuditEntry | None]]]) -> T:
        """Run `operation` in a transaction, and return its result after the commit.

        `operation` returns its result and the entry for the audit log. The entry is None if an earlier attempt of the
        same change was committed after all. `operation` may raise AdministrationRefused, which rolls the transaction
        back. Raises DatabaseUnavailable.
        """

        async def transaction(connection: AsyncConnection) -> T:
            await connection.execute(_increment_version())  # first, because it locks out other changes
            now = float((await connection.execute(select(self._now()))).scalar_one())
            result, entry = await operation(Change(connection, actor, now))
            if entry is not None:
                await connection.execute(audit.insert().values(audit_values(entry)))
            return result

        return await self._database.run_in_transaction(transaction)


def _increment_version() -> Any:
    next_version = cast(cast(service.c.value, BigInteger) + 1, String)
    return update(service).where(service.c.name == VERSION).values(value=next_version)


def audit_values(entry: AuditEntry) -> dict[str, Any]:
    """Return the column values of an entry that is to be inserted."""
    values = asdict(replace(entry, before=None, after=None))
    del values["id"]
    return values | {"before": _json(entry.before), "after": _json(entry.after)}


def _json(values: Mapping[str, Any] | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False, separators=(",", ":"))


async def team_named(connection: AsyncConnection, name: str) -> Team:
    """Return the team of this name. Raises NotThere."""
    row = (await connection.execute(select(teams).where(teams.c.name == name))).first()
    if row is None:
        raise NotThere(f"There is no team {name}. Look at the list of teams.")
    return team_of(row)


def team_of(row: Row[Any]) -> Team:
    """Return the team in a row of `teams`."""
    return Team(**row._asdict())


def member_of(row: Row[Any]) -> Member:
    """Return the member in a row of `members`."""
    return Member(**row._asdict())
