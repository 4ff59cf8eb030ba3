"""Databases for tests: in memory, in a file, and a real PostgreSQL."""

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
    """Create a database on `server` and return its URL."""
    name = f"test_{secrets.token_hex(8)}"
    connection = await asyncpg.connect(server.url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return server.url.rpartition("/")[0] + f"/{name}"


async def url_of(kind: str, folder: Path, server: PostgresServer) -> str | None:
    """Return the URL of a new database of this kind."""
    match kind:
        case "memory":
            return None
        case "file":
            return f"sqlite:///{folder}/luma.db"
        case _:
            return await empty_database(server)


def purchases_at(database: Database, clock: HandClock) -> SqlPurchases:
    """Return the purchases in `database`, whose clock is set by hand."""
    return SqlPurchases(database, BACKEND, clock.sql)


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Database]:
    """Lend a database, migrated."""
    database = Database(url)
    try:
        await database.open()
        yield database
    finally:
        await asyncio.shield(database.aclose())
