"""Runs an administrative command on the database that the settings name, while replicas may use it."""

import asyncio
import getpass
import io
import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.adapters.auth.person_vault import VaultPersonSealer
from app.adapters.secret_maker import VaultSecretMaker
from app.adapters.sql.budget_administration import SqlBudgets
from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.adapters.sql.grant_directory import SqlGrantDirectory
from app.adapters.sql.rate_limits import SqlTeamLimits
from app.adapters.sql.sign_in import sql_sign_in
from app.adapters.vault import Vault
from app.cli.admin.command import Administrator, Handler
from app.cli.admin.output import Output
from app.composition.description import backend_description
from app.domain.money import price_of_generation
from app.domain.teams import Actor
from app.local_secret import FILE, with_local_secret
from app.persistence import MIGRATION_SECONDS
from app.ports.directory import AdministrationRefused
from app.ports.repositories import DatabaseTooNew, DatabaseUnavailable
from app.ports.sealing import OtherSecretKey
from app.services.sign_in.grant_administration import GrantAdministration
from app.services.teams.departures import TeamDepartures
from app.settings import Settings, SettingsError, load_settings, require_key

REFUSED = 1
"""Exit status of a command that was refused."""

IN_MEMORY = (
    "The database is in the memory of the process that serves, where no other program reaches it. Set "
    "LUMA_MCP_DATABASE_URL, or LUMA_MCP_DATA_DIR, for the service and for this command."
)
OTHER_KEY = (
    "The keys and credentials in this database are sealed with another secret key. Set LUMA_MCP_SECRET_KEY to that of "
    "the service."
)


def run(handler: Handler, args: Namespace) -> None:
    """Run a command. A refusal is printed as a sentence, and the program exits with REFUSED. Raises SettingsError."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names may contain characters that the terminal cannot encode
    try:
        asyncio.run(_handle(handler, args))
        sys.stdout.flush()
    except AdministrationRefused as exc:
        print(f"luma-mcp: {exc}", file=sys.stderr)  # noqa: T201 - the output of the command
        sys.exit(REFUSED)
    except BrokenPipeError:  # such as `| head`; otherwise the interpreter would fail to flush at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _handle(handler: Handler, args: Namespace) -> None:
    settings = _with_secret(load_settings(args.env_file))
    async with _open_database(settings) as database:
        directory = sql_directory(database)
        maker = VaultSecretMaker(directory, tuple(settings.secret_keys()))
        sign_in, person_vault = sql_sign_in(database), VaultPersonSealer(Vault(*settings.secret_keys()))
        try:
            price = price_of_generation(backend_description(settings).policy.price)
            admin = Administrator(
                directory,
                SqlBudgets(database),
                SqlTeamLimits(database),
                price,
                sign_in.clients,
                GrantAdministration(SqlGrantDirectory(database), person_vault),
                TeamDepartures(directory, sign_in.people, person_vault, maker),
                maker,
                _actor(),
                Output(args.json),
                settings.join_page(),
            )
            await handler(admin, args)
        except OtherSecretKey:
            raise SettingsError(OTHER_KEY) from None
        except DatabaseUnavailable as exc:
            raise AdministrationRefused(
                f"The database at {database.place} {exc}. Look at what has changed before you try again."
            ) from None


def _with_secret(settings: Settings) -> Settings:
    """Return `settings` with the secret key that the service uses. Raises SettingsError."""
    file = settings.database_file()
    if settings.database() is None or _is_memory(settings):
        raise SettingsError(IN_MEMORY)
    require_key(settings, workers=1)
    if settings.secret_key or file is None:
        return settings
    if not file.with_name(FILE).exists():
        raise SettingsError(
            f"LUMA_MCP_SECRET_KEY is not set, and there is no key file {file.with_name(FILE)}. Set it to that of the "
            "service, or start the service once, which makes the file."
        )
    return with_local_secret(settings)


def _is_memory(settings: Settings) -> bool:
    return (settings.database() or "").startswith("sqlite:") and settings.database_file() is None


@asynccontextmanager
async def _open_database(settings: Settings) -> AsyncIterator[Database]:
    """Open the database while entered, and create it if there is none.

    An older schema is refused rather than migrated, because the service may still use it. Raises AdministrationRefused
    and SettingsError.
    """
    try:
        database = Database(settings.database())
    except ValueError as exc:
        raise SettingsError(f"LUMA_MCP_DATABASE_URL {exc}.") from None
    try:
        facts = await database.read_facts()
        if facts is not None and not facts.is_newest:
            raise AdministrationRefused(
                f"The database at {database.place} has schema version {facts.version}, of an earlier release. The next "
                "start of the service, or `luma-mcp database upgrade`, brings it up to date."
            )
        await database.open(MIGRATION_SECONDS)
        yield database
    except DatabaseTooNew as exc:
        raise AdministrationRefused(str(exc)) from None
    except DatabaseUnavailable as exc:
        raise AdministrationRefused(f"The database at {database.place} {exc}.") from None
    finally:
        await database.aclose()


def _actor() -> Actor:
    """Return the user who runs the command: the login name, or the user id, because containers may have no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = str(os.getuid())
    return Actor(f"cli:{name}"[:200])
