"""Databases for tests: SQLite in memory, SQLite in a file, and PostgreSQL."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from app.adapters.sql.engine import Database
from app.adapters.sql.purchases import SqlPurchases
from tests.support.clock import HandClock
from tests.support.postgres_server import PostgresServer

BACKEND = "https:backend.example"
KINDS = ("memory", "file", "postgres")


async def empty_database(server: PostgresServer) -> str:
    """Create a database with a random name on `server` and return its URL."""
    name = f"test_{secrets.token_hex(8)}"
    connection = await asyncpg.connect(server.url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return server.url.rpartition("/")[0] + f"/{name}"


async def url_of(kind: str, folder: Path, server: PostgresServer) -> str | None:
    """Return the URL of a new database of `kind`, one of KINDS; None means SQLite in memory."""
    match kind:
        case "memory":
            return None
        case "file":
            return f"sqlite:///{folder}/luma.db"
        case _:
            return await empty_database(server)


def purchases_at(database: Database, clock: HandClock) -> SqlPurchases:
    """Return the repository of purchases in `database`, which takes its time from `clock`."""
    return SqlPurchases(database, BACKEND, clock.sql)


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Database]:
    """Open the database at `url` (None: SQLite in memory), migrate it, and close it when the block ends."""
    database = Database(url)
    try:
        await database.open()
        yield database
    finally:
        await asyncio.shield(database.aclose())
