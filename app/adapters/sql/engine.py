"""The connection to the database. All of its exceptions are converted to `DatabaseUnavailable` here."""

import asyncio
import os
import sqlite3
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, ColumnElement, Float, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.sql.functions import FunctionElement

from app.adapters.sql.migrate import REVISIONS, create, revision, upgrade
from app.adapters.sql.tables import service
from app.ports.repositories import DatabaseUnavailable

RETRY_WAL_SECONDS = 0.005
"""Interval between attempts to switch a new SQLite file to write-ahead logging."""

MIGRATION_SECONDS = 600.0
"""Timeout of a statement of a migration."""

CONNECTIONS = 4
LAST_PORT = 65_535
CACHE_KIB = 256
"""Page cache of each SQLite connection. A purchase touches few pages, and the operating system caches the file too."""

ATTEMPTS = 2
"""Maximum number of attempts of an operation.

The second follows at once if the connection was dead. Operations are idempotent.
"""

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
        operation: of an operation, including the wait for a connection.
        busy: of SQLite for the write lock, of PostgreSQL's driver for each statement, and of both for a connection.

    """

    operation: float
    busy: float


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
        self._url = _parsed_url(url)
        self._timeouts = timeouts
        self._engine = _engine(self._url, timeouts.busy)
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
        """Execute a statement. Raises DatabaseUnavailable if the database does not answer."""

        async def operation(connection: AsyncConnection) -> None:
            await connection.execute(select(1))

        await self.run(operation)

    async def aclose(self) -> None:
        """Wait for the operations that still run, and close the connections."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._engine.dispose()

    async def _run_to_end(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation to its end, even if its caller is cancelled. Open the database first if necessary.

        A cancellation in the middle would make the connection unusable. Raises DatabaseUnavailable if the database
        fails, if the operation exceeds its timeout, after which it may still succeed, or if the file of an SQLite
        database was deleted or replaced.
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
        return self._file is not None and _identity_of(self._file) != self._file_identity

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved, because the caller may have been cancelled

    async def _with_retries(self, operation: Callable[[], Awaitable[T]]) -> T:
        try:
            for remaining in reversed(range(ATTEMPTS)):
                try:
                    return await operation()
                except DBAPIError as exc:
                    if not (exc.connection_invalidated and remaining):
                        raise
        except (SQLAlchemyError, sqlite3.Error, OSError, ValueError, OverflowError) as exc:
            raise DatabaseUnavailable(_fault_text(exc)) from None
        raise AssertionError("the last attempt returns or raises")

    def _on_connection(
        self, engine: AsyncEngine, operation: Callable[[AsyncConnection], Awaitable[T]]
    ) -> Callable[[], Awaitable[T]]:
        async def connected() -> T:
            async with engine.begin() as connection:
                return await operation(connection)

        return connected

    async def _upgrade(self) -> None:
        """Migrate through an engine of its own, whose statements have the timeout MIGRATION_SECONDS."""
        engine = _engine(self._url, self._timeouts.busy, statement_seconds=MIGRATION_SECONDS)
        try:
            await upgrade(engine)
        finally:
            await engine.dispose()

    async def _migrate(self) -> DatabaseFacts:
        if self._file is not None:
            await asyncio.to_thread(_make_private, self._file)
            await asyncio.to_thread(_switch_to_wal, self._file, self._timeouts.busy)
            self._file_identity = _identity_of(self._file)
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


def _parsed_url(url_text: str | None) -> URL:
    if url_text is None:
        return make_url("sqlite+aiosqlite:///:memory:")
    try:
        url = make_url(url_text)
    except (ArgumentError, ValueError):
        raise ValueError("is not a database URL: use sqlite:///path or postgresql://user:password@host/name") from None
    match url.drivername:
        case "sqlite" if "?" in url_text:
            raise ValueError("may not contain ? for SQLite: in the name of a file, write ? as %3F and % as %25")
        case "sqlite" if url.database and not url.host:
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres" if "@" in (url.host or "") or (url.port or 0) > LAST_PORT:
            raise ValueError("has an @ in its password, or an invalid port: write @ as %40, : as %3A and / as %2F")
        case "postgresql" | "postgres" if url.database and url.host and set(url.query) <= {"sslmode", "sslrootcert"}:
            return url.set(drivername="postgresql+asyncpg")
        case _:
            raise ValueError(
                "must be sqlite:///path or postgresql://user:password@host/name, which may end in ?sslmode=verify-full "
                "and &sslrootcert=/path/to/ca.pem"
            )


def _tls(url: URL) -> ssl.SSLContext | str:
    """Return asyncpg's `ssl` argument for the URL's sslmode, which has the meaning that libpq defines.

    The default is "prefer". The verifying modes trust the file in sslrootcert, or else the system's authorities. Raises
    ValueError.
    """
    mode = str(url.query.get("sslmode", "prefer"))
    authority = str(url.query.get("sslrootcert", ""))
    if mode in ("disable", "allow", "prefer", "require"):
        return mode
    if mode not in ("verify-ca", "verify-full"):
        raise ValueError("has an sslmode that is none of disable, allow, prefer, require, verify-ca and verify-full")
    try:
        context = ssl.create_default_context(cafile=authority or None)
    except OSError:
        raise ValueError("names an sslrootcert that cannot be read") from None
    context.check_hostname = mode == "verify-full"
    return context


def _engine(url: URL, busy_seconds: float, *, statement_seconds: float | None = None) -> AsyncEngine:
    """Return an engine for `url`, whose exceptions hide the parameters of statements, such as digests and task ids.

    `statement_seconds` is the timeout of statements in PostgreSQL, by default `busy_seconds`.
    """
    if url.get_backend_name() != "sqlite":
        limits = {"timeout": busy_seconds, "command_timeout": statement_seconds or busy_seconds}
        arguments = {**limits, "ssl": _tls(url), "server_settings": {"application_name": "luma-mcp"}}
        return create_async_engine(
            url.set(query={}),
            hide_parameters=True,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=busy_seconds,
            connect_args=arguments,
        )
    in_memory = url.database == ":memory:"
    engine = create_async_engine(
        url,
        hide_parameters=True,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if in_memory else CONNECTIONS,  # each connection to :memory: is a database of its own
        max_overflow=0,
        pool_timeout=busy_seconds,
        connect_args={"timeout": busy_seconds},
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Prepare a connection: `_begin_sqlite` starts its transactions, and every commit is synced to the disk."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"cache_size=-{CACHE_KIB}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    """Take the write lock when a transaction starts. A transaction that starts with a read might not get it later."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _identity_of(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, which identify it; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _make_private(path: Path) -> None:
    """Create the file and its folder with permissions for this user only. SQLite gives its other files the same.

    An existing file is not opened. Closing it again would release the locks that this process's connections hold on it
    (POSIX). Another process could then delete the write-ahead log that these connections use.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _switch_to_wal(path: Path, busy_seconds: float) -> None:
    """Switch a new file to write-ahead logging.

    SQLite's own timeout does not wait for the lock of this statement: of several processes that open a new file at
    once, some would fail. Raises sqlite3.Error.
    """
    give_up_at = time.monotonic() + busy_seconds
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) or time.monotonic() >= give_up_at:
                    raise
                time.sleep(RETRY_WAL_SECONDS)
            else:
                return


_MEANINGS = {
    "InvalidPasswordError": "does not accept the user or the password of LUMA_MCP_DATABASE_URL",
    "InvalidAuthorizationSpecificationError": "does not accept the user of LUMA_MCP_DATABASE_URL, or requires TLS",
    "InvalidCatalogNameError": "does not exist on that server: create it, or correct LUMA_MCP_DATABASE_URL",
    "InsufficientPrivilegeError": "does not give its user the rights that docs/purchases.md names",
    "TooManyConnectionsError": "has no connection left: raise its limit, or run fewer processes",
    "ReadOnlySQLTransactionError": "takes no writes: it is a standby, or set to read only",
}
"""Errors that an operator can correct, in words that complete a sentence, by the type of asyncpg's exception."""


def _fault_text(exc: Exception) -> str:
    """Return words for an exception: its meaning if that is known, else its type.

    Its message is not used, because it may quote addresses and statements.
    """
    original = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    name = type(original.__cause__ or original).__name__
    return _MEANINGS.get(name) or _unanswered(name)


def _unanswered(reason: str) -> str:
    return f"does not answer ({reason})"
