"""Opening a database: concurrent migrations, newer schemas, file permissions, and servers that do not answer."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, column, select, table, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.adapters.sql.engine import MIGRATION_SECONDS, Database, database_now
from app.adapters.sql.migrate import REVISIONS
from app.adapters.sql.tables import metadata
from app.domain.purchase import KeyName, NewPurchase
from app.ports.people import Newcomer, NewInvitation
from app.ports.repositories import DatabaseTooNew, DatabaseUnavailable
from tests.support.clock import HandClock
from tests.support.databases import BACKEND, empty_database, opened, purchases_at
from tests.support.directories import ACTOR, directory_at
from tests.support.postgres_server import PostgresServer

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


async def revision(connection: AsyncConnection) -> object:
    return (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_migrations_create_the_tables_of_the_metadata(url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async def operation(connection: AsyncConnection) -> list[object]:
        return await connection.run_sync(differences)

    await asyncio.to_thread(_at_revision, url, REVISIONS[0])
    async with opened(url) as database:
        assert await database.run_in_transaction(operation) == []


def test_revisions_lists_every_migration_in_order() -> None:
    folder = Path("app/adapters/sql/migrations")
    scripts = [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()]
    assert tuple(reversed(scripts)) == REVISIONS


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_many_processes_migrate_once(url: str) -> None:
    databases = [Database(url) for _ in range(4)]
    [facts] = set(await asyncio.gather(*(one.open(MIGRATION_SECONDS) for one in databases)))
    assert facts.version == REVISIONS[-1]
    assert facts.created_at == pytest.approx(time.time(), abs=3600)
    for one in databases:
        await one.aclose()


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_a_database_of_a_newer_release_is_refused(url: str) -> None:
    async with opened(url) as database:

        async def operation(connection: AsyncConnection) -> None:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

        await database.run(operation)
    with pytest.raises(DatabaseTooNew, match="newer release"):
        async with opened(url):
            pass


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_read_facts_does_not_migrate_an_older_database(url: str) -> None:
    await asyncio.to_thread(_at_revision, url, "0001")
    for _ in range(2):
        database = Database(url)
        facts = await database.read_facts()
        await database.aclose()
        assert facts is not None
        assert (facts.version, facts.is_newest) == ("0001", False)


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_read_facts_does_not_create_tables(url: str) -> None:
    for _ in range(2):
        database = Database(url)
        assert await database.read_facts() is None
        await database.aclose()


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_a_key_of_the_first_schema_is_still_held_after_the_migration(url: str, clock: HandClock) -> None:
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
    await asyncio.to_thread(_at_revision, url, "0001", row)
    async with opened(url) as database:
        new = NewPurchase("b" * 32, "owner", "generate", "request", (KeyName("owner", "key", "request"),))
        found = await purchases_at(database, clock).claim(new)
        assert found is not None
        assert (found.attempt, found.task_id) == ("a" * 32, "task")


@pytest.mark.parametrize("first", REVISIONS)
@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_the_directory_is_usable_after_the_migration(url: str, first: str, clock: HandClock) -> None:
    await asyncio.to_thread(_at_revision, url, first)
    async with opened(url) as database:
        directory = directory_at(database, clock)
        await directory.teams.create("film", "UTC", ACTOR)
        assert await directory.facts.version() == 1


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_people_join_a_team_of_before_the_migration(url: str, clock: HandClock) -> None:
    flags = {"is_stopped": False, "allows_foreign_ids": False, "members_see_all": True}
    row = {"id": "a" * 32, "name": "film", "timezone": "UTC", "created_at": clock(), **flags}
    await asyncio.to_thread(_at_revision, url, "0006", row, "teams")
    async with opened(url) as database:
        directory, new = directory_at(database, clock), NewInvitation("0" * 12, "d" * 64)
        await directory.invitations.create("film", new, ACTOR, expires_seconds=60)
        bea = Newcomer("b" * 32, "bea", lambda team_id: team_id.replace("a", "c"))
        member = await directory.invitations.join(new.digest, bea, ACTOR)
        assert (member.id, member.team_id) == ("c" * 32, "a" * 32)


def _at_revision(url: str, wanted: str, row: dict[str, object] | None = None, into: str = "purchases") -> None:
    """Bring an empty database to an older revision, with `row` in one of its tables if there is one."""

    async def migrated() -> None:
        engine = create_async_engine(make_url(url).set(drivername=DRIVERS[make_url(url).drivername]))
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, wanted)
            if row is not None:
                await connection.execute(table(into, *map(column, row)).insert(), row)
        await engine.dispose()

    asyncio.run(migrated())


def _upgrade(connection: Connection, wanted: str) -> None:
    config = Config()
    config.set_main_option("script_location", "app/adapters/sql/migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, wanted)


async def test_the_clock_of_the_database_counts_unix_seconds(database: Database) -> None:
    async def operation(connection: AsyncConnection) -> float:
        return float((await connection.execute(select(database_now()))).scalar_one())

    assert await database.run(operation) == pytest.approx(time.time(), abs=3600)


async def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with opened(f"sqlite:///{tmp_path}/new/luma.db") as database:
            await database.run(revision)
            modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    finally:
        os.umask(old)
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(DatabaseUnavailable):
        await Database(f"sqlite:///{tmp_path}/file/luma.db").open()


async def test_a_stopped_server_is_unavailable_until_it_runs_again(fragile_postgres: PostgresServer) -> None:
    url = await empty_database(fragile_postgres)
    async with opened(url) as database:
        assert await database.run(revision) == REVISIONS[-1]
        fragile_postgres.stop()
        with pytest.raises(DatabaseUnavailable) as caught:
            await database.run(revision)
        assert "127.0.0.1" not in str(caught.value)
        fragile_postgres.start()
        assert await database.run(revision) == REVISIONS[-1]


async def test_no_operation_fails_after_a_restart_of_the_server(fragile_postgres: PostgresServer) -> None:
    url = await empty_database(fragile_postgres)
    async with opened(url) as database:
        await asyncio.gather(*(database.run(revision) for _ in range(4)))
        fragile_postgres.stop()
        fragile_postgres.start()
        assert await asyncio.gather(*(database.run(revision) for _ in range(4))) == [REVISIONS[-1]] * 4


async def test_a_database_that_is_down_at_the_start_is_migrated_at_its_first_use(
    fragile_postgres: PostgresServer,
) -> None:
    url = await empty_database(fragile_postgres)
    fragile_postgres.stop()
    database = Database(url)
    with pytest.raises(DatabaseUnavailable):
        await database.open()
    fragile_postgres.start()
    assert await database.run(revision) == REVISIONS[-1]
    await database.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:secret@host/name",
        "sqlite://",
        "sqlite:///",
        "postgresql://user:secret@host",
        "postgresql://user:secret@host/name?options=x",
        "secret",
        "",
    ],
)
def test_an_invalid_url_is_refused_without_quoting_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///path") as caught:
        Database(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://user:pass@secret@host/name", "postgresql://user@host:99999/name"])
def test_a_password_that_is_not_encoded_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="%40") as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_a_file_with_a_query_is_refused() -> None:
    with pytest.raises(ValueError, match="%3F"):
        Database("sqlite:////var/lib/luma.db?mode=ro")


async def test_a_file_that_was_replaced_is_unavailable(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/luma.db") as database:
        await database.run(revision)
        for replaced in (False, True):
            (tmp_path / "luma.db").unlink(missing_ok=True)
            if replaced:
                (tmp_path / "luma.db").write_bytes(b"")
            with pytest.raises(DatabaseUnavailable, match="another"):
                await database.run(revision)


async def test_another_process_closing_the_file_does_not_lose_changes_of_this_one(
    tmp_path: Path, clock: HandClock
) -> None:
    url, count = f"sqlite:///{tmp_path}/luma.db", "SELECT count(*) FROM teams"
    async with opened(url):
        pass

    async def seen_by_another_process() -> str:
        program = (
            f"import sqlite3; c = sqlite3.connect({f'{tmp_path}/luma.db'!r}); print(*c.execute({count!r})); c.close()"
        )
        ended = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", program], capture_output=True, check=True
        )
        return str(ended.stdout.decode().strip())

    database = Database(url)
    await database.read_facts()
    await database.open()
    assert await seen_by_another_process() == "(0,)"
    await directory_at(database, clock).teams.create("film", "UTC", ACTOR)
    assert await seen_by_another_process() == "(1,)"
    await database.aclose()


async def test_concurrent_calls_to_a_hanging_database_share_one_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = Database(f"postgresql://user@127.0.0.1:{port}/name?sslmode=disable")
        calls = [asyncio.create_task(database.run(revision)) for _ in range(40)]
        await asyncio.wait(calls)
        assert {type(call.exception()) for call in calls} == {DatabaseUnavailable}
        await database.aclose()


@pytest.mark.parametrize("query", ["sslmode=x", "sslmode=verify-full&sslrootcert=/nowhere"])
def test_an_unknown_sslmode_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="ssl"):
        Database(f"postgresql://user:word@host/name?{query}")


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca", "verify-full"])
async def test_tls_is_used_as_the_url_says(shared_postgres: PostgresServer, mode: str) -> None:
    database = Database(f"{shared_postgres.url}?sslmode={mode}")
    if mode in ("disable", "prefer"):
        await database.open()
    else:
        with pytest.raises(DatabaseUnavailable):  # this server speaks no TLS
            await database.open()
    await database.aclose()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://user:secret@host:5433/name", "host/name"),
        ("postgres://host/name", "host/name"),
        ("sqlite:////var/lib/luma.db", "/var/lib/luma.db"),
    ],
)
def test_place_contains_no_secret(url: str, place: str) -> None:
    assert Database(url).place == place
