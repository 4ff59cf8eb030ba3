"""Creates the schema of a database, or migrates it to the version of this program. One process does so at a time."""

import secrets
import time
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, text
from sqlalchemy.ext.asyncio.engine import AsyncEngine

from app.adapters.sql import budget_tables as _budget_tables  # noqa: F401 - adds its tables to the metadata
from app.adapters.sql import directory_tables as _directory_tables  # noqa: F401 - adds its tables to the metadata
from app.adapters.sql import people_tables as _people_tables  # noqa: F401 - adds its tables to the metadata
from app.adapters.sql import rate_limit_tables as _rate_limit_tables  # noqa: F401 - adds its table to the metadata
from app.adapters.sql import sign_in_tables as _sign_in_tables  # noqa: F401 - the same
from app.adapters.sql.tables import metadata, service
from app.ports.repositories import DatabaseTooNew

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
"""Every revision of the schema, oldest first."""

_LOCK = 0x6C756D61
"""The number of PostgreSQL's advisory lock for migrations: the ASCII codes of "luma"."""

_FOLDER = Path(__file__).parent / "migrations"


async def create(engine: AsyncEngine) -> None:
    """Create the tables in a database that belongs to this process alone."""
    async with engine.begin() as connection:
        await connection.run_sync(_create)


async def upgrade(engine: AsyncEngine) -> None:
    """Create the tables, or migrate them to the newest revision. Raises DatabaseTooNew."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade_locked)


def revision(connection: Connection) -> str | None:
    """Return the revision of the database; None if it has no tables yet. Raises DatabaseTooNew for an unknown one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    recorded: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if recorded is not None and recorded not in REVISIONS:
        raise DatabaseTooNew(
            "The database was migrated by a newer release of luma-mcp. Run that release, or restore a backup made "
            "before that migration."
        )
    return recorded


def _upgrade_locked(connection: Connection) -> None:
    """Migrate in one transaction. SQLite's write lock or PostgreSQL's advisory lock makes other processes wait."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    current = revision(connection)
    if current == REVISIONS[-1]:
        return
    if current is None:
        _create(connection)
        return
    from alembic import command  # noqa: PLC0415 - takes 11 MB, and only an older database needs it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _create(connection: Connection) -> None:
    """Create the tables of the newest revision, and record the revision as Alembic does."""
    metadata.create_all(connection)
    service_rows = {
        "database_id": secrets.token_hex(16),
        "created_at": f"{time.time():.0f}",
        "directory_version": "0",
        "sign_in_version": "0",
    }
    connection.execute(service.insert(), [{"name": name, "value": value} for name, value in service_rows.items()])
    version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
    version.create(connection)
    connection.execute(version.insert(), {"version_num": REVISIONS[-1]})
