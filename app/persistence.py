"""Builds, from settings, the database and the services that use it, and migrates the database."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from app.adapters.sql.alerts import SqlAlerts
from app.adapters.sql.audit import SqlAuditLog
from app.adapters.sql.engine import TIMEOUTS, Database, DatabaseFacts, DatabaseTimeouts, SqlClock
from app.adapters.sql.purchases import SqlPurchases
from app.adapters.sql.settlement import SqlLedger
from app.domain.backend import BackendDescription
from app.ports.coordination import Coordination
from app.ports.repositories import DatabaseTooNew, DatabaseUnavailable
from app.ports.sealing import Signer
from app.services.key_namespace import KeyNamespace
from app.services.limits.database_turns import DatabaseTurns
from app.services.purchases.idempotency import PurchaseService
from app.services.purchases.legacy_keys import LegacyIdempotencyKeys
from app.services.purchases.refusals import PurchaseRefusals
from app.services.purchases.shared_database import SharedDatabase
from app.services.purchases.unaccepted_rows import UnacceptedPurchases
from app.services.retention import DAY_SECONDS, OldRows, delete_old_rows
from app.services.tasks.store_probe import SharedProbe
from app.settings import Settings, SettingsError

MIGRATION_SECONDS = 600.0
"""Timeout of a migration, before the service starts or by a command."""

REFUSED_SECONDS = 24 * 3600.0
"""Retention of refused purchases and of the task ids in callbacks."""

log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Persistence:
    """The database and the services that use it.

    Attributes:
        purchases: the repository of purchases.
        service: idempotent purchases, over that repository.
        shared: detects replicas that share a Redis but not a database.
        legacy_keys: idempotency keys of release 1.0, in Redis.
        try_database: raises DatabaseUnavailable unless the database answers. Its result is cached for a second.
        old_rows: the kinds of rows that are deleted after their retention.

    """

    database: Database
    purchases: SqlPurchases
    service: PurchaseService
    shared: SharedDatabase
    legacy_keys: LegacyIdempotencyKeys
    try_database: SharedProbe
    old_rows: tuple[OldRows, ...]
    sleep: Sleep

    async def status(self) -> str:
        """Return "up", "down", or "other" if the replicas that share a Redis use different databases."""
        if self.shared.has_mismatch:
            return "other"
        try:
            await self.try_database()
        except DatabaseUnavailable:
            return "down"
        return "up"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the database. While entered, delete old rows, and compare the database with that of other replicas.

        If the database does not answer, a later operation opens it. Raises SettingsError if a newer release has
        migrated the database.
        """
        try:
            await self.database.open()
        except DatabaseTooNew as exc:
            raise SettingsError(str(exc)) from None
        except DatabaseUnavailable as exc:
            log.warning(
                "The database at %s %s: calls with an idempotency key are refused until it answers",
                self.database.place,
                exc,
            )
        await self.legacy_keys.search()
        cleaning = delete_old_rows(self.old_rows, self.sleep)
        background = [asyncio.create_task(cleaning), asyncio.create_task(self.shared.run())]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background)
            await self.database.aclose()


async def prepare_database(settings: Settings) -> None:
    """Migrate the database before the first worker starts.

    Raises SettingsError for an SQLite file that cannot be used, and for a database that a newer release has migrated.
    If a PostgreSQL server does not answer, the first operation migrates it later.
    """
    if (url := settings.database()) is None:
        return
    database = _database_at(url)
    try:
        await _migrate(database)
    except DatabaseUnavailable as exc:
        if database.kind == "SQLite":
            raise SettingsError(
                f"The database file {database.place} cannot be used: it {exc}. Set LUMA_MCP_DATA_DIR to a folder that "
                "this user may write to, or LUMA_MCP_DATABASE_URL to another database."
            ) from None


async def upgrade(settings: Settings, say: Callable[[str], None]) -> None:
    """Migrate the database, and print its schema version with `say`. Raises SettingsError if the migration fails."""
    if (url := settings.database()) is None:
        say("The database is in the memory of the serving process: there is nothing to upgrade.")
        return
    database = _database_at(url)
    try:
        facts = await _migrate(database)
    except DatabaseUnavailable as exc:
        raise SettingsError(f"The database at {database.place} {exc}.") from None
    say(f"The {database.kind} database at {database.place} has schema version {facts.version}.")


async def _migrate(database: Database) -> DatabaseFacts:
    """Migrate the database within MIGRATION_SECONDS, and close it. Raises SettingsError and DatabaseUnavailable."""
    try:
        return await database.open(MIGRATION_SECONDS)
    except DatabaseTooNew as exc:
        raise SettingsError(str(exc)) from None
    finally:
        await database.aclose()


def _database_at(url: str | None, timeouts: DatabaseTimeouts = TIMEOUTS) -> Database:
    """Return the database at `url`, not connected. None means in memory. Raises SettingsError for a malformed URL."""
    try:
        return Database(url, timeouts)
    except ValueError as exc:
        raise SettingsError(f"LUMA_MCP_DATABASE_URL {exc}.") from None


def build_persistence(  # noqa: PLR0913 - the dependencies of purchases
    settings: Settings,
    coordination: Coordination,
    signing: Signer,
    keys: KeyNamespace,
    *,
    wall_clock: Callable[[], float],
    clock: Callable[[], float],
    sleep: Sleep,
    database_clock: SqlClock,
    timeouts: DatabaseTimeouts,
    is_accepted: Callable[[str], bool],
    backend: BackendDescription,
    turns: DatabaseTurns,
    refusals: PurchaseRefusals,
) -> Persistence:
    """Return the database that `settings` name, and its services. Raises SettingsError for an unsupported URL.

    `wall_clock` returns unix seconds. `clock` is monotonic, in seconds.
    """
    database = _database_at(settings.database(), timeouts)
    # Without Redis's prefix, so that purchases are still found after a change of the prefix.
    backend_key = keys.root.removeprefix(f"{settings.redis_prefix}:")
    purchases = SqlPurchases(database, backend_key, database_clock)
    shared = SharedDatabase(coordination, keys, lambda: database.facts.id if database.facts else None, sleep)
    created_at = lambda: database.facts.created_at if database.facts else 0.0  # noqa: E731
    legacy_keys = LegacyIdempotencyKeys(coordination, created_at, wall_clock)
    service = PurchaseService(
        purchases,
        signing,
        legacy_keys,
        turns=turns,
        key_lives_seconds=settings.idempotency_seconds,
        key_fault=shared.fault,
        unaccepted=UnacceptedPurchases(clock, is_accepted),
        backend=backend,
        clock=clock,
        sleep=sleep,
        refusals=refusals,
    )
    try_database = SharedProbe(database.ping, clock)
    old_rows = _old_rows(settings, database, purchases, database_clock)
    return Persistence(database, purchases, service, shared, legacy_keys, try_database, old_rows, sleep)


def _old_rows(settings: Settings, database: Database, purchases: SqlPurchases, clock: SqlClock) -> tuple[OldRows, ...]:
    """Return the kinds of rows that are deleted after their retention."""
    purchase_days, days = settings.purchase_days, settings.audit_days
    delete_purchases = partial(
        purchases.delete_old, refused_seconds=REFUSED_SECONDS, seconds=purchase_days * DAY_SECONDS
    )
    audit, ledger, alerts = SqlAuditLog(database, clock), SqlLedger(database, clock), SqlAlerts(database, clock)
    return (
        OldRows(f"purchases older than {purchase_days} days, or refused and older than a day", delete_purchases),
        OldRows(f"rows of the audit log older than {days} days", partial(audit.delete_old, days * DAY_SECONDS)),
        OldRows(f"costs of teams older than {days} days", partial(ledger.delete_old, days * DAY_SECONDS)),
        OldRows(f"alerts older than {days} days", partial(alerts.delete_old, days * DAY_SECONDS)),
    )
