"""Opening a database: file permissions, URLs, and servers that do not answer."""

import asyncio
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.engine import CONNECTIONS, TIMEOUTS, Database, database_now
from app.adapters.sql.migrate import REVISIONS
from app.adapters.sql.tables import service
from app.ports.repositories import DatabaseUnavailable
from tests.support.clock import PATIENT, HandClock
from tests.support.databases import empty_database, opened
from tests.support.directories import ACTOR, directory_at
from tests.support.forwarder import forwarding
from tests.support.postgres_server import PostgresServer

LOCKED_SECONDS, GAP_SECONDS = 0.037, 0.003
"""How long another process holds the write lock, and how long it is free then. SQLite itself tries every 0.1 s."""

PATIENT_CALLER = replace(TIMEOUTS, operation=60.0)


async def revision(connection: AsyncConnection) -> object:
    return (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()


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


async def port(connection: AsyncConnection) -> object:
    return (await connection.execute(text("SELECT inet_server_port()"))).scalar()


async def set_read_only(url: str) -> None:
    """Make a server refuse writes, and wait until new connections see that."""
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await connection.execute("SELECT pg_reload_conf()")
    while await connection.fetchval("SHOW transaction_read_only") == "off":
        await asyncio.sleep(0)
    await connection.close()


async def test_connections_to_a_server_that_takes_no_writes_follow_the_address_of_the_database(
    fragile_postgres: PostgresServer, shared_postgres: PostgresServer
) -> None:
    url = await empty_database(fragile_postgres)
    connection = await asyncpg.connect(shared_postgres.url)
    await connection.execute(f"CREATE DATABASE {url.rpartition('/')[2]}")
    await connection.close()
    async with forwarding(fragile_postgres.port) as address:
        followed = url.replace(f":{fragile_postgres.port}/", f":{address.port}/")
        async with opened(followed, replace(PATIENT, check=0.0)) as database:
            assert await asyncio.gather(*(database.run(port) for _ in range(4))) == [fragile_postgres.port] * 4
            await set_read_only(url)
            assert await database.run(port) == fragile_postgres.port, "there may be no other server"
            with pytest.raises(DatabaseUnavailable, match="takes no writes"):
                await database.ping()
            address.target = shared_postgres.port
            assert await asyncio.gather(*(database.run(port) for _ in range(4))) == [shared_postgres.port] * 4
            await database.ping()


async def test_a_connection_is_asked_whether_its_server_takes_writes_once_in_a_while(
    fragile_postgres: PostgresServer,
) -> None:
    url = await empty_database(fragile_postgres)
    async with opened(url, replace(PATIENT, check=3600.0)) as database:
        before = await database.run(backend_pid)
        await set_read_only(url)
        assert await database.run(backend_pid) == before


async def backend_pid(connection: AsyncConnection) -> object:
    return (await connection.execute(text("SELECT pg_backend_pid()"))).scalar()


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


async def store(name: str, connection: AsyncConnection) -> None:
    await connection.execute(insert(service).values(name=name, value="stored"))


async def store_in_turn(database: Database, writer: int) -> None:
    for number in range(25):
        await database.run_in_transaction(partial(store, f"{writer} of {number}"))


async def stored(connection: AsyncConnection) -> int:
    rows = await connection.execute(select(func.count()).where(service.c.value == "stored"))
    return int(rows.scalar_one())


def _write_nearly_always(path: Path, ended: threading.Event) -> None:
    """Hold the write lock of a database again and again, with short gaps, until `ended`."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        while not ended.is_set():
            with suppress(sqlite3.OperationalError):
                connection.execute("BEGIN IMMEDIATE")
                ended.wait(LOCKED_SECONDS)
                connection.execute("COMMIT")
                ended.wait(GAP_SECONDS)


async def test_a_process_that_writes_nearly_always_does_not_keep_others_from_writing(tmp_path: Path) -> None:
    ended = threading.Event()
    async with opened(f"sqlite:///{tmp_path}/luma.db", replace(PATIENT_CALLER, busy=1.0)) as database:
        writing = asyncio.create_task(asyncio.to_thread(_write_nearly_always, tmp_path / "luma.db", ended))
        try:
            await asyncio.gather(*(store_in_turn(database, writer) for writer in range(CONNECTIONS)))
        finally:
            ended.set()
            await writing
        assert await database.run(stored) == 25 * CONNECTIONS


async def test_a_lock_that_is_never_released_is_an_outage_with_a_reason(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/luma.db", replace(PATIENT_CALLER, busy=0.1)) as database:
        with closing(sqlite3.connect(tmp_path / "luma.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseUnavailable, match="is locked by another process"):
                await database.run_in_transaction(revision)
        assert await database.run_in_transaction(revision) == REVISIONS[-1]


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
