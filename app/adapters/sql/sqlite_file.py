"""SQLite: the file of a database, its connections, and the lock that writers take in turn."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

LOCK_SECONDS = 0.02
"""How long SQLite waits for the write lock before an operation is attempted again.

SQLite tries at shorter intervals at the beginning of a wait, and then every 0.1 s. A process that waits for long would
lose the lock to one that has just released it, again and again.
"""

RETRY_WAL_SECONDS = 0.005
"""Interval between attempts to switch a new SQLite file to write-ahead logging."""

CACHE_KIB = 256
"""Page cache of each SQLite connection. A purchase touches few pages, and the operating system caches the file too."""

_PRIMARY_CODE = 0xFF
"""Mask of the primary result code in an extended one of SQLite."""


def prepare(connection: Any, _record: Any) -> None:
    """Prepare a connection: `begin` starts its transactions, and every commit is synced to the disk."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"cache_size=-{CACHE_KIB}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def begin(connection: Any) -> None:
    """Take the write lock when a transaction starts. A transaction that starts with a read might not get it later."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, which identify it; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def make_private(path: Path) -> None:
    """Create the file and its folder for this user only. SQLite gives its other files the same permissions.

    An existing file is not opened. Closing it again would release the locks that this process's connections hold on it
    (POSIX). Another process could then delete the write-ahead log that these connections use.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def switch_to_wal(path: Path, busy_seconds: float) -> None:
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
                if not is_locked(exc) or time.monotonic() >= give_up_at:
                    raise
                time.sleep(RETRY_WAL_SECONDS)
            else:
                return


def is_locked(exc: Exception) -> bool:
    """Return whether SQLite did not get the write lock in time."""
    original = exc.orig if isinstance(exc, DBAPIError) else exc
    code = getattr(original, "sqlite_errorcode", 0)
    return bool(code & _PRIMARY_CODE == sqlite3.SQLITE_BUSY)
