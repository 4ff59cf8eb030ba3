"""Everything that stands on the database, made from settings; `app.composition` makes the rest."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.adapters.sql.engine import Database, DatabaseFacts
from app.adapters.sql.purchases import SqlClock, SqlPurchases
from app.domain.backend import BackendDescription
from app.ports.coordination import Coordination
from app.ports.repositories import DatabaseTooNew, DatabaseUnavailable
from app.ports.sealing import Signer
from app.services.key_namespace import KeyNamespace
from app.services.purchases.idempotency import PurchaseService
from app.services.purchases.legacy_keys import LegacyIdempotencyKeys
from app.services.purchases.retention import delete_old_purchases
from app.services.purchases.shared_database import SharedDatabase
from app.services.purchases.unaccepted_rows import UnacceptedPurchases
from app.services.tasks.store_probe import SharedProbe
from app.settings import Settings, SettingsError

MIGRATION_SECONDS = 600.0
"""How long a migration may take that is run before the service starts, or by hand."""

log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Persistence:
    """The database and what reads and writes it."""

    database: Database
    purchases: SqlPurchases
    service: PurchaseService
    shared: SharedDatabase
    earlier: LegacyIdempotencyKeys
    try_database: SharedProbe
    purchase_days: int
    sleep: Sleep

    async def status(self) -> str:
        """Return "up", "down", or "other" where the replicas of one Redis use different databases."""
        if self.shared.is_other:
            return "other"
        try:
            await self.try_database()
        except DatabaseUnavailable:
            return "down"
        return "up"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the database, and keep it clean and compared with that of other replicas while entered.

        A database that does not answer is opened by the first call after it does. Raises SettingsError for one that a
        newer release has migrated.
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
        await self.earlier.look()
        cleaning = delete_old_purchases(self.purchases, self.purchase_days, self.sleep)
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

    A file must open, and so must what a newer release has not migrated: raises SettingsError. A server that does not
    answer yet is opened later, by whoever needs it first.
    """
    if (url := settings.database()) is None:
        return
    database = _named(url)
    try:
        await _migrated(database)
    except DatabaseUnavailable as exc:
        if database.kind == "SQLite":
            raise SettingsError(
                f"The database file {database.place} cannot be used: it {exc}. Set LUMA_MCP_DATA_DIR to a folder that "
                "this user may write to, or LUMA_MCP_DATABASE_URL to another database."
            ) from None


async def upgrade(settings: Settings, say: Callable[[str], None]) -> None:
    """Migrate the database and say its version. Raises SettingsError where it cannot be done."""
    if (url := settings.database()) is None:
        say("The database is in the memory of the process that serves: there is nothing to upgrade.")
        return
    database = _named(url)
    try:
        facts = await _migrated(database)
    except DatabaseUnavailable as exc:
        raise SettingsError(f"The database at {database.place} {exc}.") from None
    say(f"The {database.kind} database at {database.place} has schema version {facts.version}.")


async def _migrated(database: Database) -> DatabaseFacts:
    """Migrate the database, however long that takes, and close it. Raises SettingsError and DatabaseUnavailable."""
    try:
        return await database.open(MIGRATION_SECONDS)
    except DatabaseTooNew as exc:
        raise SettingsError(str(exc)) from None
    finally:
        await database.aclose()


def _named(url: str | None) -> Database:
    try:
        return Database(url)
    except ValueError as exc:
        raise SettingsError(f"LUMA_MCP_DATABASE_URL {exc}.") from None


def build_persistence(  # noqa: PLR0913 - the two times, and what replicas share
    settings: Settings,
    coordination: Coordination,
    signing: Signer,
    keys: KeyNamespace,
    *,
    wall_clock: Callable[[], float],
    clock: Callable[[], float],
    sleep: Sleep,
    database_clock: SqlClock,
    is_accepted: Callable[[str], bool],
    backend: BackendDescription,
) -> Persistence:
    """Return what stands on the database that `settings` name. Raises SettingsError for a URL of no known form."""
    database = _named(settings.database())
    backend_key = keys.root.removeprefix(f"{settings.redis_prefix}:")  # purchases outlive a change of Redis's prefix
    purchases = SqlPurchases(database, backend_key, database_clock)
    shared = SharedDatabase(coordination, keys, lambda: database.facts.id if database.facts else None, sleep)
    created_at = lambda: database.facts.created_at if database.facts else 0.0  # noqa: E731
    earlier = LegacyIdempotencyKeys(coordination, created_at, wall_clock)
    service = PurchaseService(
        purchases,
        signing,
        earlier,
        key_lives_seconds=settings.idempotency_seconds,
        key_fault=shared.fault,
        unaccepted=UnacceptedPurchases(clock, is_accepted),
        backend=backend,
        clock=clock,
        sleep=sleep,
    )
    return Persistence(
        database, purchases, service, shared, earlier, SharedProbe(database.ping, clock), settings.purchase_days, sleep
    )
