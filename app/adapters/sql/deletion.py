"""Deletion of many rows in lots, between which others may write."""

from typing import Any

from sqlalchemy import Column, ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.engine import Database

MOST_DELETED = 5_000
"""Rows that one statement deletes: a fraction of a second."""


async def delete_in_lots(database: Database, key: Column[Any], where: ColumnElement[bool], most: int) -> int:
    """Delete the rows that `where` holds for, at most `most` at once, and return how many they were.

    `key` is the primary key of their table. Raises DatabaseUnavailable.
    """
    some = delete(key.table).where(key.in_(select(key).where(where).limit(most)), where)

    async def operation(connection: AsyncConnection) -> int:
        return int((await connection.execute(some)).rowcount)

    total = 0
    while deleted := await database.run(operation):
        total += deleted
    return total
