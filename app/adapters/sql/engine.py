"""The connection to the database. All of its exceptions are converted to `DatabaseUnavailable` here."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, ColumnElement, Float, event, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.sql.functions import FunctionElement

from app.adapters.sql import sqlite_file
from app.adapters.sql.database_url import parsed_url, tls_of
from app.adapters.sql.migrate import REVISIONS, create, revision, upgrade
from app.adapters.sql.read_only_servers import CHECK_SECONDS, QUESTION, leave_read_only_servers
from app.adapters.sql.tables import service
from app.ports.repositories import DatabaseUnavailable

MIGRATION_SECONDS = 600.0
"""Timeout of a statement of a migration."""

CONNECTIONS = 4

CONNECTION_ATTEMPTS = 2
"""Maximum number of attempts of an operation on dead connections. The second follows at once."""

T = TypeVar("T")


class database_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """The SQL of the database's clock in Unix seconds. All replicas use this one clock."""

    type = Float(53)
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(_element: database_now, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(_element: database_now, _compiler: Any, **_options: Any) -> str:
    return "extract(epoch from clock_timestamp())::float8"


SqlClock = Callable[[], ColumnElement[float]]
"""Returns the SQL of a clock in Unix seconds. Tests replace the database's clock by another one."""


@dataclass(frozen=True, slots=True)
class DatabaseTimeouts:
    """Timeouts in seconds.

    Attributes:
        operation: for an operation, including the wait for a connection.
        busy: for the write lock of SQLite, for each statement in PostgreSQL, and in both for a connection of the pool.
        check: time after which a connection to PostgreSQL is asked again whether its server takes writes.

    """

    operation: float
    busy: float
    check: float = CHECK_SECONDS


TIMEOUTS = DatabaseTimeouts(operation=5.0, busy=2.0)


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The version of the schema, the database's random id, and its time of creation (Unix seconds)."""

    version: str
    id: str
    created_at: float

    @property
    def is_newest(self) -> bool:
        """Whether the schema has the version of this program."""
        return self.version == REVISIONS[-1]


class Database:
    """A database, which is migrated before its first use."""

    def __init__(self, url: str | None, timeouts: DatabaseTimeouts = TIMEOUTS) -> None:
        """Use the database at `url`; None means an SQLite database in the memory of this process.

        Raises ValueError if the URL has no known form. The message completes a sentence about the URL.
        """
        self._url = parsed_url(url)
        self._timeouts = timeouts
        self._engine = _engine(self._url, timeouts.busy, check_seconds=timeouts.check)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self.facts: DatabaseFacts | None = None
        self._opening: asyncio.Task[DatabaseFacts] | None = None
        self._file = Path(self._url.database or "") if self.kind == "SQLite" and not self.is_in_memory else None
        self._file_identity: tuple[int, int] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def kind(self) -> str:
        """The kind of database: "SQLite" or "PostgreSQL"."""
        return "SQLite" if self._url.get_backend_name() == "sqlite" else "PostgreSQL"

    @property
    def is_in_memory(self) -> bool:
        """Whether the database is in the memory of this process. It then ends with the process."""
        return self._url.database == ":memory:"

    @property
    def place(self) -> str:
        """The file or the host and name of the database, for messages, without user and password."""
        return self._url.database or "memory" if self.kind == "SQLite" else f"{self._url.host}/{self._url.database}"

    @property
    def is_busy(self) -> bool:
        """Whether an operation is under way."""
        return bool(self._under_way)

    async def open(self, seconds: float | None = None) -> DatabaseFacts:
        """Migrate the schema to the version of this program if it is older, and return the facts about the database.

        Concurrent calls share one attempt. Each waits for it at most `seconds`, by default the timeout of an operation.
        Raises DatabaseUnavailable, and DatabaseTooNew if a newer program has migrated the database.
        """
        if self.facts is None:
            if self._opening is None or self._opening.done():
                self._opening = self._start(self._migrate)
            self.facts = await self._wait_for_result(self._opening, seconds)
        return self.facts

    async def read_facts(self) -> DatabaseFacts | None:
        """Return the facts about the database without changing it; None if its tables or its file do not exist yet.

        Raises DatabaseUnavailable, and DatabaseTooNew if a newer program has migrated the database.
        """
        if self.is_in_memory:
            return None
        if self._file is not None and not self._file.exists():
            folder = next(parent for parent in self._file.absolute().parents if parent.exists())
            if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
                raise DatabaseUnavailable("cannot be created, because this user may not write to its folder")
            return None
        return await self._wait_for_result(self._start(self._select_facts))

    async def run(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of `operation`. Each of its statements is committed at once. Raises DatabaseUnavailable."""
        return await self._run_to_end(self._on_connection(self._autocommit, operation))

    async def run_in_transaction(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of `operation`, which runs in one transaction. Raises DatabaseUnavailable."""
        return await self._run_to_end(self._on_connection(self._engine, operation))

    async def ping(self) -> None:
        """Execute a statement. Raises DatabaseUnavailable if the database does not answer, or takes no writes."""
        question = select(1) if self.kind == "SQLite" else text(QUESTION)

        async def operation(connection: AsyncConnection) -> object:
            return (await connection.execute(question)).scalar()

        if await self.run(operation) == "on":
            raise DatabaseUnavailable(_TAKES_NO_WRITES)

    async def aclose(self) -> None:
        """Wait for the operations that still run, and close the connections."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._engine.dispose()

    async def _run_to_end(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation to its end, even if its caller is cancelled. Open the database first if necessary.

        A cancellation in the middle would make the connection unusable. Raises DatabaseUnavailable if the database
        fails, if the operation exceeds its timeout, or if the file of an SQLite database was deleted or replaced. After
        a timeout, the operation may still succeed.
        """
        if self.facts is None:
            await self.open()
        if self._is_file_replaced():
            raise DatabaseUnavailable("has lost its file: it was deleted, or replaced by another one")
        return await self._wait_for_result(self._start(operation))

    def _start(self, operation: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(self._with_retries(operation))
        self._under_way.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def _wait_for_result(self, task: asyncio.Task[T], seconds: float | None = None) -> T:
        await asyncio.wait([task], timeout=self._timeouts.operation if seconds is None else seconds)
        if not task.done():
            raise DatabaseUnavailable(_unanswered("TimeoutError"))
        return task.result()

    def _is_file_replaced(self) -> bool:
        """Return whether the SQLite file was deleted or replaced. Open connections would continue with the old file."""
        return self._file is not None and sqlite_file.identity_of(self._file) != self._file_identity

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved, because the caller may have been cancelled

    async def _with_retries(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation again if its connection was dead, or the write lock was taken. Operations are idempotent."""
        give_up_at, dead_connections = time.monotonic() + self._timeouts.busy, 0
        while True:
            try:
                return await operation()
            except (SQLAlchemyError, sqlite3.Error, OSError, ValueError, OverflowError) as exc:
                is_dead = isinstance(exc, DBAPIError) and exc.connection_invalidated
                dead_connections += is_dead
                may_retry = dead_connections < CONNECTION_ATTEMPTS if is_dead else time.monotonic() < give_up_at
                if not (may_retry and (is_dead or sqlite_file.is_locked(exc))):
                    raise DatabaseUnavailable(_fault_text(exc)) from None

    def _on_connection(
        self, engine: AsyncEngine, operation: Callable[[AsyncConnection], Awaitable[T]]
    ) -> Callable[[], Awaitable[T]]:
        async def connected() -> T:
            async with engine.begin() as connection:
                return await operation(connection)

        return connected

    async def _upgrade(self) -> None:
        """Migrate through an engine of its own, whose statements have the timeout MIGRATION_SECONDS."""
        engine = _engine(
            self._url, self._timeouts.busy, statement_seconds=MIGRATION_SECONDS, lock_seconds=self._timeouts.busy
        )
        try:
            await upgrade(engine)
        finally:
            await engine.dispose()

    async def _migrate(self) -> DatabaseFacts:
        if self._file is not None:
            await asyncio.to_thread(sqlite_file.make_private, self._file)
            await asyncio.to_thread(sqlite_file.switch_to_wal, self._file, self._timeouts.busy)
            self._file_identity = sqlite_file.identity_of(self._file)
        facts = await self._select_facts()
        if facts is None or not facts.is_newest:
            await (create(self._engine) if self.is_in_memory else self._upgrade())
            facts = await self._select_facts()
        if facts is None:
            raise DatabaseUnavailable("has lost its tables while it was opened")
        return facts

    async def _select_facts(self) -> DatabaseFacts | None:
        async with self._autocommit.connect() as connection:
            if (version := await connection.run_sync(revision)) is None:
                return None
            rows = await connection.execute(select(service))
            facts = {row.name: row.value for row in rows}
        return DatabaseFacts(version, facts["database_id"], float(facts["created_at"]))


def _engine(
    url: URL,
    busy_seconds: float,
    *,
    statement_seconds: float | None = None,
    lock_seconds: float = sqlite_file.LOCK_SECONDS,
    check_seconds: float = CHECK_SECONDS,
) -> AsyncEngine:
    """Return an engine for `url`, whose exceptions hide the parameters of statements, such as digests and task ids.

    `statement_seconds` is the timeout of statements in PostgreSQL, by default `busy_seconds`. `lock_seconds` is the
    timeout of SQLite for the write lock. `check_seconds` is described at DatabaseTimeouts.
    """
    if url.get_backend_name() != "sqlite":
        limits = {"timeout": busy_seconds, "command_timeout": statement_seconds or busy_seconds}
        arguments = {**limits, "ssl": tls_of(url), "server_settings": {"application_name": "luma-mcp"}}
        engine = create_async_engine(
            url.set(query={}),
            hide_parameters=True,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=busy_seconds,
            connect_args=arguments,
        )
        leave_read_only_servers(engine, check_seconds)
        return engine
    in_memory = url.database == ":memory:"
    engine = create_async_engine(
        url,
        hide_parameters=True,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if in_memory else CONNECTIONS,  # each connection to :memory: is a database of its own
        max_overflow=0,
        pool_timeout=busy_seconds,
        connect_args={"timeout": lock_seconds},
    )
    event.listen(engine.sync_engine, "connect", sqlite_file.prepare)
    event.listen(engine.sync_engine, "begin", sqlite_file.begin)
    return engine


_TAKES_NO_WRITES = "takes no writes: it is a standby, or set to read only"

_MEANINGS = {
    "InvalidPasswordError": "does not accept the user or the password of LUMA_MCP_DATABASE_URL",
    "InvalidAuthorizationSpecificationError": "does not accept the user of LUMA_MCP_DATABASE_URL, or requires TLS",
    "InvalidCatalogNameError": "does not exist on that server: create it, or correct LUMA_MCP_DATABASE_URL",
    "InsufficientPrivilegeError": "does not give its user the rights that docs/purchases.md names",
    "TooManyConnectionsError": "has no connection left: raise its limit, or run fewer processes",
    "ReadOnlySQLTransactionError": _TAKES_NO_WRITES,
}
"""Errors that an operator can correct, in words that complete a sentence, by the type of asyncpg's exception."""


def _fault_text(exc: Exception) -> str:
    """Return words for an exception: its meaning if that is known, else its type.

    Its message is not used, because it may quote addresses and statements.
    """
    if sqlite_file.is_locked(exc):
        return "is locked by another process, which has been writing for too long"
    original = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    name = type(original.__cause__ or original).__name__
    return _MEANINGS.get(name) or _unanswered(name)


def _unanswered(reason: str) -> str:
    return f"does not answer ({reason})"
