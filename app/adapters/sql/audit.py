"""The audit log, in SQL that SQLite and PostgreSQL share."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.administration import audit_values
from app.adapters.sql.deletion import MOST_DELETED, delete_in_lots
from app.adapters.sql.directory_tables import audit
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.domain.teams import AuditEntry


class SqlAuditLog:
    """The log of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now, *, most_deleted: int = MOST_DELETED) -> None:
        """Keep the log in `database`; `now` is the clock, as SQL. Old entries are deleted in lots of `most_deleted`."""
        self._database = database
        self._now = now
        self._most_deleted = most_deleted

    async def append(self, entry: AuditEntry) -> None:
        """Record an entry, other than that of an administrative change, which records its own."""
        row = audit.insert().values(audit_values(entry) | {"at": self._now()})
        await self._database.run(lambda connection: connection.execute(row))

    async def entries(
        self, most: int, *, team_id: str | None = None, since: float | None = None, after: int = 0
    ) -> list[AuditEntry]:
        """Return at most `most` entries with an id above `after`, in the order of their ids."""
        wanted = [audit.c.id > after]
        if team_id is not None:
            wanted.append(audit.c.team_id == team_id)
        if since is not None:
            wanted.append(audit.c.at >= since)

        async def operation(connection: AsyncConnection) -> list[AuditEntry]:
            rows = await connection.execute(select(audit).where(*wanted).order_by(audit.c.id).limit(most))
            return [_entry(row) for row in rows]

        return await self._database.run(operation)

    async def delete_old(self, seconds: float) -> int:
        """Delete entries older than `seconds` in lots, between which others may write; return how many they were."""
        old = audit.c.at < self._now() - seconds
        return await delete_in_lots(self._database, audit.c.id, old, self._most_deleted)


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**row._asdict() | {"before": _read(row.before), "after": _read(row.after)})


def _read(written: str | None) -> Mapping[str, Any] | None:
    if written is None:
        return None
    values: dict[str, Any] = json.loads(written)
    return values
