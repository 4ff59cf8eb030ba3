"""SQLAlchemy's INSERT with an ON CONFLICT clause, for each kind of database."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio.engine import AsyncConnection


def insert_of(kind: str) -> Callable[..., Any]:
    """Return the `insert` function for "SQLite" or "PostgreSQL". Importing the other dialect too would take 4 MB."""
    if kind == "SQLite":
        from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415

        return insert
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert  # noqa: PLC0415

    return postgresql_insert


def insert_into(connection: AsyncConnection, table: Table) -> Any:
    """Return an INSERT into `table` for the kind of database of `connection`."""
    return insert_of("SQLite" if connection.dialect.name == "sqlite" else "PostgreSQL")(table)
