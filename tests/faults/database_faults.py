"""Scenarios in which the database fails: PostgreSQL, SQLite, and the loss of all processes."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import asyncpg
import psutil

from app.services.purchases.idempotency import REFUSED_WITHOUT_DATABASE
from tests.faults.purchases import UNDER_WAY, UNKNOWN, WITHOUT_DATABASE
from tests.faults.replica import Replica
from tests.faults.scenario import Scenario, Stage
from tests.faults.terms import Terms
from tests.faults.world import Form
from tests.support.postgres_server import PostgresServer
from tests.support.service import MODERN, envelope

_OUT = Terms(purchases=frozenset({WITHOUT_DATABASE}), purchase_seconds=16.0, grace_seconds=12.0)
"""Refuses purchases with keys during the fault. While the database hangs, claiming a key takes 5 s to fail, and so does
recording an outcome."""

_ALL = Terms(
    may_cut=True,
    none_listens=True,
    purchases=frozenset({UNDER_WAY, UNKNOWN}),
    grace_seconds=12.0,
)
"""Calls to killed processes are cut off, and no replica listens until the restart."""

_ON_POSTGRES = Form(database="postgres")
_PAIR = Form(database="replicated")


def _postgres(stage: Stage) -> PostgresServer:
    assert stage.world.postgres is not None
    return stage.world.postgres


async def _recorded(stage: Stage) -> int:
    """Return the number of purchases in the database."""
    connection = await asyncpg.connect(_postgres(stage).url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM purchases"))
    finally:
        await connection.close()


@asynccontextmanager
async def killed(stage: Stage) -> AsyncIterator[None]:
    """Crash PostgreSQL (SIGQUIT) and start it again at the end of the fault."""
    before = await _recorded(stage)
    await asyncio.to_thread(_postgres(stage).stop, signal.SIGQUIT)
    try:
        yield
    finally:
        await asyncio.to_thread(_postgres(stage).start)
    stage.saw("purchases were there after the crash", of=before if await _recorded(stage) >= before else 0)


@asynccontextmanager
async def restarted(stage: Stage) -> AsyncIterator[None]:
    """Restart PostgreSQL at the beginning of the fault."""
    first = _postgres(stage).pid
    await asyncio.to_thread(_postgres(stage).stop)
    await asyncio.to_thread(_postgres(stage).start)
    stage.saw("another process", of=_postgres(stage).pid != first)
    yield


@asynccontextmanager
async def hung(stage: Stage) -> AsyncIterator[None]:
    """Suspend all processes of PostgreSQL: connections stay open and get no answer."""
    server = psutil.Process(_postgres(stage).pid)
    stopped = [server, *server.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        stage.saw("processes stopped", of=len(stopped))
        yield
    finally:
        for process in stopped:
            process.resume()


@asynccontextmanager
async def read_only(stage: Stage) -> AsyncIterator[None]:
    """Make transactions read-only by default, so that PostgreSQL rejects writes as a standby does."""
    await _set_read_only(stage, "on")
    try:
        connection = await asyncpg.connect(_postgres(stage).url)
        try:
            await connection.execute("DELETE FROM purchases WHERE attempt = 'nobody'")
        except asyncpg.ReadOnlySQLTransactionError:
            stage.saw("a write was refused")
        finally:
            await connection.close()
        yield
    finally:
        await _set_read_only(stage, "off")


async def _set_read_only(stage: Stage, value: str) -> None:
    connection = await asyncpg.connect(_postgres(stage).url)
    try:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@asynccontextmanager
async def failed_over(stage: Stage) -> AsyncIterator[None]:
    """Crash the primary, promote its standby, and point the service's proxy at the standby."""
    before = await _recorded(stage)
    await asyncio.to_thread(_postgres(stage).stop, signal.SIGQUIT)
    await _promote_standby(stage)
    yield
    await _see_purchases(stage, before)


@asynccontextmanager
async def failed_over_from_a_living_server(stage: Stage) -> AsyncIterator[None]:
    """Make the primary read-only and promote its standby. Only new connections of the service lead to the standby."""
    before = await _recorded(stage)
    await _set_read_only(stage, "on")
    await _promote_standby(stage)
    yield
    await _see_purchases(stage, before)


async def _promote_standby(stage: Stage) -> None:
    """Promote the standby, and point the service's proxy at it. It is the stage's PostgreSQL from then on."""
    standby = stage.world.standby
    assert standby is not None
    connection = await asyncpg.connect(standby.url)
    try:
        stage.saw("the standby was promoted", of=await connection.fetchval("SELECT pg_promote()"))
    finally:
        await connection.close()
    stage.world.postgres = standby
    stage.world.postgres_proxy.target = standby.port


async def _see_purchases(stage: Stage, before: int) -> None:
    stage.saw("purchases were at the standby", of=before if await _recorded(stage) >= before else 0)


@asynccontextmanager
async def all_restarted(stage: Stage) -> AsyncIterator[None]:
    """Kill Redis and both replicas, and start all three again; Redis is empty then."""
    await asyncio.to_thread(stage.world.redis.stop)
    for replica in stage.world.replicas:
        replica.close()
    await asyncio.to_thread(stage.world.redis.start)
    seconds = await asyncio.gather(*(replica.start() for replica in stage.world.replicas))
    stage.saw(f"both replicas after {max(seconds):.1f} s, and an empty Redis")
    yield


@asynccontextmanager
async def disk_full(stage: Stage) -> AsyncIterator[None]:
    """Make every file write of the first replica fail (RLIMIT_FSIZE). Its log is a device, which has no such limit."""
    replica = stage.world.replicas[0]
    before = replica.process.rlimit(psutil.RLIMIT_FSIZE)
    replica.process.rlimit(psutil.RLIMIT_FSIZE, (0, before[1]))
    try:
        stage.saw("a key was refused", of=await _refuses_keys(stage, replica))
        yield
    finally:
        replica.process.rlimit(psutil.RLIMIT_FSIZE, before)


async def _refuses_keys(stage: Stage, replica: Replica) -> bool:
    """Whether a purchase with a key is refused because the database is unavailable."""
    arguments = {"prompt": "Nobody buys this", "idempotency_key": "the key of a probe"}
    message, headers = envelope("tools/call", {"name": "luma_generate_video", "arguments": arguments}, MODERN)
    headers |= {"authorization": "Bearer a-token-of-the-probe", "accept": "application/json"}
    answer = await stage.world.http.post(f"{replica.url}/mcp", json=message, headers=headers)
    return REFUSED_WITHOUT_DATABASE in answer.text


@asynccontextmanager
async def file_removed(stage: Stage) -> AsyncIterator[None]:
    """Rename SQLite's file during the fault."""
    file = stage.world.database_file
    away = file.rename(file.with_suffix(".away"))
    stage.saw("the file is gone", of=not file.exists())
    try:
        yield
    finally:
        away.rename(file)


@asynccontextmanager
async def locked(stage: Stage) -> AsyncIterator[None]:
    """Hold SQLite's write lock from this process."""
    with closing(sqlite3.connect(stage.world.database_file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        stage.saw("the write lock is held elsewhere", of=connection.in_transaction)
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


DATABASE_SCENARIOS = (
    Scenario("Database", "PostgreSQL crashed, and back after a while", killed, _OUT, form=_ON_POSTGRES),
    Scenario("Database", "PostgreSQL restarted", restarted, _OUT, seconds=0, form=_ON_POSTGRES),
    Scenario("Database", "PostgreSQL hung", hung, _OUT, seconds=6.0, form=_ON_POSTGRES),
    Scenario("Database", "PostgreSQL takes no writes", read_only, _OUT, form=_ON_POSTGRES),
    Scenario("Database", "PostgreSQL failed over to a standby", failed_over, _OUT, seconds=0, form=_PAIR),
    Scenario(
        "Database",
        "PostgreSQL failed over from a server that lives on",
        failed_over_from_a_living_server,
        _OUT,
        seconds=4.0,
        form=_PAIR,
    ),
    Scenario("Database", "SQLite locked by another process", locked, _OUT, seconds=4.0),
    Scenario("Database", "SQLite's disk full", disk_full, _OUT, form=Form(log="/dev/null")),
    Scenario("Database", "SQLite's file removed", file_removed, _OUT),
    Scenario("Database", "all replicas and Redis lost, SQLite", all_restarted, _ALL, seconds=0),
    Scenario(
        "Database",
        "all replicas and Redis lost, PostgreSQL",
        all_restarted,
        _ALL,
        seconds=0,
        form=_ON_POSTGRES,
    ),
)
