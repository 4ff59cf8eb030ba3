"""Migrations: from every revision with rows in every table, by several processes at once, and of newer schemas."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, column, select, table, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio.engine import AsyncConnection, create_async_engine

from app.adapters.sql.engine import MIGRATION_SECONDS, Database
from app.adapters.sql.migrate import REVISIONS
from app.adapters.sql.tables import metadata
from app.domain.purchase import KeyName, NewPurchase
from app.ports.people import Newcomer, NewInvitation
from app.ports.repositories import DatabaseTooNew
from tests.support.clock import HandClock
from tests.support.databases import BACKEND, opened, purchases_at
from tests.support.directories import ACTOR, directory_at
from tests.support.process import environment, serving_process
from tests.support.redis_server import RedisServer
from tests.support.service import KEY

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}

STATES = {"purchases": "started", "ledger": "reserved"}
"""Values of the columns whose values are checked."""


async def test_migrations_create_the_tables_of_the_metadata(empty_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async def operation(connection: AsyncConnection) -> list[object]:
        return await connection.run_sync(differences)

    await asyncio.to_thread(_at_revision, empty_url, REVISIONS[0])
    async with opened(empty_url) as database:
        assert await database.run_in_transaction(operation) == []


def test_revisions_lists_every_migration_in_order() -> None:
    folder = Path("app/adapters/sql/migrations")
    scripts = [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()]
    assert tuple(reversed(scripts)) == REVISIONS


@pytest.mark.parametrize("first", [None, REVISIONS[0]])
async def test_many_processes_migrate_once(empty_url: str, first: str | None) -> None:
    if first is not None:
        await asyncio.to_thread(_at_revision, empty_url, first)
    databases = [Database(empty_url) for _ in range(4)]
    [facts] = set(await asyncio.gather(*(one.open(MIGRATION_SECONDS) for one in databases)))
    assert facts.version == REVISIONS[-1]
    assert facts.created_at == pytest.approx(time.time(), abs=3600)
    for one in databases:
        await one.aclose()


async def test_two_replicas_that_start_at_once_migrate_an_older_database(
    empty_url: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    before = await asyncio.to_thread(_filled, empty_url, REVISIONS[-2])
    env = environment(database_url=empty_url, redis_url=redis_server.url, secret_key=KEY, auth="passthrough,keys")
    await asyncio.to_thread(_start_two, tmp_path, env)
    async with opened(empty_url) as database:
        after = await database.run_in_transaction(lambda connection: connection.run_sync(_rows))
    assert after["teams"] == before["teams"]


def _start_two(folder: Path, env: dict[str, str]) -> None:
    """Start two replicas at once, and wait until both are ready."""
    with (
        serving_process("--sandbox", cwd=folder, env=env) as one,
        serving_process("--sandbox", cwd=folder, env=env) as other,
    ):
        for server in (one, other):
            assert httpx.get(f"{server.url}/readyz", timeout=30).json()["status"] == "ready"


async def test_a_database_of_a_newer_release_is_refused(empty_url: str) -> None:
    async with opened(empty_url) as database:

        async def operation(connection: AsyncConnection) -> None:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

        await database.run(operation)
    with pytest.raises(DatabaseTooNew, match="newer release"):
        async with opened(empty_url):
            pass


async def test_read_facts_does_not_migrate_an_older_database(empty_url: str) -> None:
    await asyncio.to_thread(_at_revision, empty_url, "0001")
    for _ in range(2):
        database = Database(empty_url)
        facts = await database.read_facts()
        await database.aclose()
        assert facts is not None
        assert (facts.version, facts.is_newest) == ("0001", False)


async def test_read_facts_does_not_create_tables(empty_url: str) -> None:
    for _ in range(2):
        database = Database(empty_url)
        assert await database.read_facts() is None
        await database.aclose()


async def test_a_key_of_the_first_schema_is_still_held_after_the_migration(empty_url: str, clock: HandClock) -> None:
    row = {
        "attempt": "a" * 32,
        "owner": "owner",
        "backend": BACKEND,
        "action": "generate",
        "request_hash": "request",
        "key_hash": "key",
        "state": "started",
        "task_id": "task",
        "created_at": clock(),
        "changed_at": clock(),
    }
    await asyncio.to_thread(_at_revision, empty_url, "0001", row)
    async with opened(empty_url) as database:
        new = NewPurchase("b" * 32, "owner", "generate", "request", (KeyName("owner", "key", "request"),))
        found = await purchases_at(database, clock).claim(new)
        assert found is not None
        assert (found.attempt, found.task_id) == ("a" * 32, "task")


@pytest.mark.parametrize("first", REVISIONS)
async def test_the_directory_is_usable_after_the_migration(empty_url: str, first: str, clock: HandClock) -> None:
    await asyncio.to_thread(_at_revision, empty_url, first)
    async with opened(empty_url) as database:
        directory = directory_at(database, clock)
        await directory.teams.create("film", "UTC", ACTOR)
        assert await directory.facts.version() == 1


async def test_people_join_a_team_of_before_the_migration(empty_url: str, clock: HandClock) -> None:
    flags = {"is_stopped": False, "allows_foreign_ids": False, "members_see_all": True}
    row = {"id": "a" * 32, "name": "film", "timezone": "UTC", "created_at": clock(), **flags}
    await asyncio.to_thread(_at_revision, empty_url, "0006", row, "teams")
    async with opened(empty_url) as database:
        directory, new = directory_at(database, clock), NewInvitation("0" * 12, "d" * 64)
        await directory.invitations.create("film", new, ACTOR, expires_seconds=60)
        bea = Newcomer("b" * 32, "bea", lambda team_id: team_id.replace("a", "c"))
        member = await directory.invitations.join(new.digest, bea, ACTOR)
        assert (member.id, member.team_id) == ("c" * 32, "a" * 32)


def _at_revision(url: str, wanted: str, row: dict[str, object] | None = None, into: str = "purchases") -> None:
    """Bring an empty database to an older revision, with `row` in one of its tables if there is one."""

    async def migrated() -> None:
        async with _connected(url) as connection:
            await connection.run_sync(_upgrade, wanted)
            if row is not None:
                await connection.execute(table(into, *map(column, row)).insert(), row)

    asyncio.run(migrated())


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in a transaction, which is committed at the end."""
    engine = create_async_engine(make_url(url).set(drivername=DRIVERS[make_url(url).drivername]))
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, wanted: str) -> None:
    config = Config()
    config.set_main_option("script_location", "app/adapters/sql/migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, wanted)


Rows = dict[str, list[dict[str, object]]]


@pytest.mark.parametrize("first", REVISIONS)
async def test_no_row_of_an_older_revision_is_lost_or_changed(empty_url: str, first: str) -> None:
    before = await asyncio.to_thread(_filled, empty_url, first)
    assert all(before.values()), "every table has a row"
    async with opened(empty_url) as database:
        after = await database.run_in_transaction(lambda connection: connection.run_sync(_rows))
    kept = {name: [_part(row, after[name][0]) for row in rows] for name, rows in before.items()}
    found = {name: [_part(row, before[name][0]) for row in after[name]] for name in before}
    assert [row for name in kept for row in kept[name] if row not in found[name]] == []


def _filled(url: str, wanted: str) -> Rows:
    """Bring an empty database to a revision, put a row into every table, and return all rows."""

    def fill(connection: Connection) -> Rows:
        tables = _tables(connection)
        for one in tables.sorted_tables:
            if one.name != "alembic_version":
                connection.execute(one.insert(), {each.name: _value(each) for each in one.columns})
        return _rows(connection)

    async def filled() -> Rows:
        async with _connected(url) as connection:
            await connection.run_sync(_upgrade, wanted)
            return await connection.run_sync(fill)

    return asyncio.run(filled())


def _value(wanted: Column[object]) -> object:
    """Return a value for a column. Columns of one type have the same value, so that foreign keys fit."""
    if wanted.name == "state" and wanted.table.name in STATES:
        return STATES[wanted.table.name]
    kind = wanted.type.python_type
    return {str: "a" * 8, int: 7, float: 1.5, bool: True}.get(kind, [["a", 1.5]])


def _rows(connection: Connection) -> Rows:
    return {
        one.name: [dict(row) for row in connection.execute(select(one)).mappings()]
        for one in _tables(connection).sorted_tables
        if one.name != "alembic_version"
    }


def _tables(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def _part(row: dict[str, object], like: dict[str, object]) -> dict[str, object]:
    """Return what `row` has of the columns of `like`."""
    return {name: value for name, value in row.items() if name in like}
