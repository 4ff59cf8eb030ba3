"""The audit log, in SQL for both SQLite and PostgreSQL."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import audit_values
from app.adapters.sql.deletion import DELETION_BATCH_SIZE, delete_in_batches
from app.adapters.sql.directory_tables import audit
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.domain.teams import AuditEntry


class SqlAuditLog:
    """The log of one database. Every method raises DatabaseUnavailable."""

    def __init__(
        self, database: Database, now: SqlClock = database_now, *, batch_size: int = DELETION_BATCH_SIZE
    ) -> None:
        """Use `database`. `now` returns the SQL of its clock. Old rows are deleted in batches of `batch_size`."""
        self._database = database
        self._now = now
        self._batch_size = batch_size

    async def append(self, entry: AuditEntry) -> None:
        """Insert an entry. Administrative changes insert their entries themselves."""
        row = audit.insert().values(audit_values(entry) | {"at": self._now()})
        await self._database.run(lambda connection: connection.execute(row))

    async def entries(
        self, limit: int, *, team_id: str | None = None, since: float | None = None, after: int = 0
    ) -> list[AuditEntry]:
        """Return at most `limit` entries with an id above `after`, in the order of their ids."""
        conditions = [audit.c.id > after]
        if team_id is not None:
            conditions.append(audit.c.team_id == team_id)
        if since is not None:
            conditions.append(audit.c.at >= since)

        async def operation(connection: AsyncConnection) -> list[AuditEntry]:
            rows = await connection.execute(select(audit).where(*conditions).order_by(audit.c.id).limit(limit))
            return [_entry(row) for row in rows]

        return await self._database.run(operation)

    async def delete_old(self, seconds: float) -> int:
        """Delete entries older than `seconds` in batches, and return their number. Others may write between batches."""
        old = audit.c.at < self._now() - seconds
        return await delete_in_batches(self._database, audit.c.id, old, self._batch_size)


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**row._asdict() | {"before": _parsed_json(row.before), "after": _parsed_json(row.after)})


def _parsed_json(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    values: dict[str, Any] = json.loads(text)
    return values
