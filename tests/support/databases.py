"""Databases for tests: SQLite in memory, SQLite in a file, and PostgreSQL of the oldest and the newest version."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import asyncpg

from app.adapters.sql.engine import Database, DatabaseTimeouts
from app.adapters.sql.purchases import SqlPurchases
from tests.support.clock import PATIENT, HandClock
from tests.support.postgres_server import NEWEST, OLDEST, PostgresServer
from tests.support.redis_server import free_port

BACKEND = "https:backend.example"
_POSTGRES = {f"postgres{version}": version for version in (OLDEST, NEWEST)}
SHARED_KINDS = ("file", *_POSTGRES)
"""The kinds of databases that several processes can use."""

KINDS = ("memory", *SHARED_KINDS)
NEWEST_KINDS = ("file", f"postgres{NEWEST}")
"""One database of each dialect, for tests of whole programs, which take longer."""

_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_EMPTY = """
SET LOCAL session_replication_role = replica;
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
    FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
        EXECUTE format('ALTER SEQUENCE %I RESTART', name);
    END LOOP;
END $$
"""
"""Deletes all rows, without regard to foreign keys, and restarts the numbers. TRUNCATE takes longer."""


class PostgresServers(ExitStack):
    """PostgreSQL servers by version, each started at its first use, and their databases that are used again."""

    def __init__(self) -> None:
        super().__init__()
        self._servers: dict[int, PostgresServer] = {}
        self._migrated: dict[int, _MigratedDatabase] = {}

    def __enter__(self) -> Self:
        return self

    def at(self, version: int) -> PostgresServer:
        """Return the running server of `version`, OLDEST or NEWEST."""
        if version not in self._servers:
            self._servers[version] = server = PostgresServer(free_port(), version=version)
            self.callback(server.close)
            server.start()
        return self._servers[version]

    async def migrated(self, version: int) -> str:
        """Return the URL of a database with the newest schema and no rows beside those of a migration.

        All callers get the same database, one after another: it is emptied for the next one, which takes a tenth of
        the time that a new one takes.
        """
        if version not in self._migrated:
            url = await empty_database(self.at(version))
            async with opened(url):
                pass
            self._migrated[version] = await _MigratedDatabase.at(url)
        else:
            await self._migrated[version].empty()
        return self._migrated[version].url


class _MigratedDatabase:
    """A PostgreSQL database as it was right after the migration."""

    def __init__(self, url: str, facts: list[asyncpg.Record]) -> None:
        self.url = url
        self._facts = facts

    @classmethod
    async def at(cls, url: str) -> Self:
        """Read the rows that the migration has written."""
        connection = await asyncpg.connect(url)
        facts = await connection.fetch("SELECT name, value FROM service")
        await connection.close()
        return cls(url, facts)

    async def empty(self) -> None:
        """End what the last test has left open, and delete all rows but those of the migration."""
        connection = await asyncpg.connect(self.url)
        await connection.execute(_END_OTHERS)
        async with connection.transaction():
            await connection.execute(_EMPTY)
            await connection.executemany("INSERT INTO service (name, value) VALUES ($1, $2)", self._facts)
        await connection.close()


async def empty_database(server: PostgresServer) -> str:
    """Create a database with a random name on `server` and return its URL."""
    name = f"test_{secrets.token_hex(8)}"
    connection = await asyncpg.connect(server.url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return server.url.rpartition("/")[0] + f"/{name}"


async def url_of(kind: str, folder: Path, servers: PostgresServers) -> str | None:
    """Return the URL of a new database of `kind`, one of KINDS, without tables; None means SQLite in memory."""
    match kind:
        case "memory":
            return None
        case "file":
            return f"sqlite:///{folder}/luma.db"
        case _:
            return await empty_database(servers.at(_POSTGRES[kind]))


async def migrated_url_of(kind: str, folder: Path, servers: PostgresServers) -> str | None:
    """Return the URL of a database of `kind` without rows. One of PostgreSQL is migrated, and is used again later."""
    return await servers.migrated(_POSTGRES[kind]) if kind in _POSTGRES else await url_of(kind, folder, servers)


def purchases_at(database: Database, clock: HandClock) -> SqlPurchases:
    """Return the repository of purchases in `database`, which takes its time from `clock`."""
    return SqlPurchases(database, BACKEND, clock.sql)


@asynccontextmanager
async def opened(url: str | None, timeouts: DatabaseTimeouts = PATIENT) -> AsyncIterator[Database]:
    """Open the database at `url` (None: SQLite in memory), migrate it, and close it when the block ends."""
    database = Database(url, timeouts)
    try:
        await database.open()
        yield database
    finally:
        await asyncio.shield(database.aclose())
