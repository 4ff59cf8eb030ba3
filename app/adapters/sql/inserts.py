"""The INSERT of each kind of database that has an ON CONFLICT clause."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection


def insert_of(kind: str) -> Callable[..., Any]:
    """Return the INSERT of `kind`, "SQLite" or "PostgreSQL". The dialect of the other would take 4 MB."""
    if kind == "SQLite":
        from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415

        return insert
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert  # noqa: PLC0415

    return postgresql_insert


def insert_into(connection: AsyncConnection, table: Table) -> Any:
    """Return the INSERT of the database that `connection` leads to."""
    return insert_of("SQLite" if connection.dialect.name == "sqlite" else "PostgreSQL")(table)
