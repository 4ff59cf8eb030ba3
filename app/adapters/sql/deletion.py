"""Deletion of many rows in batches. Other transactions may write between two batches."""

from typing import Any

from sqlalchemy import Column, ColumnElement, delete, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.turns import Operations

DELETION_BATCH_SIZE = 5_000
"""Maximum number of rows that one statement deletes. That takes a fraction of a second."""


async def delete_in_batches(database: Operations, key: Column[Any], where: ColumnElement[bool], limit: int) -> int:
    """Delete the rows that fulfil `where`, at most `limit` in each statement, and return their number.

    `key` is the primary key of their table. Raises DatabaseUnavailable.
    """
    statement = delete(key.table).where(key.in_(select(key).where(where).limit(limit)), where)

    async def operation(connection: AsyncConnection) -> int:
        return int((await connection.execute(statement)).rowcount)

    total = 0
    while deleted := await database.run(operation):
        total += deleted
    return total
