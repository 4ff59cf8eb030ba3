"""The directory of teams in one database: its repositories, its version and its pepper."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import VERSION
from app.adapters.sql.api_keys import SqlApiKeys
from app.adapters.sql.audit import SqlAuditLog
from app.adapters.sql.departures import SqlDepartures
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.invitations import SqlInvitations
from app.adapters.sql.person_teams import SqlPersonTeams
from app.adapters.sql.tables import service
from app.adapters.sql.team_credentials import SqlTeamCredentials
from app.adapters.sql.teams import SqlTeams
from app.ports.directory import Directory

PEPPER = "pepper"


def sql_directory(database: Database, now: SqlClock = database_now) -> Directory:
    """Return the directory in `database`. `now` returns the SQL of its clock."""
    return Directory(
        teams=SqlTeams(database, now),
        keys=SqlApiKeys(database, now),
        credentials=SqlTeamCredentials(database, now),
        audit=SqlAuditLog(database, now),
        facts=SqlDirectoryFacts(database),
        invitations=SqlInvitations(database, now),
        people=SqlPersonTeams(database, now),
        departures=SqlDepartures(database, now),
    )


class SqlDirectoryFacts:
    """The version and the pepper of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        """Use `database`."""
        self._database = database

    async def version(self) -> int:
        """Return a number that every administrative change increments."""
        return int(await self._database.run(lambda connection: _read_value(connection, VERSION)) or 0)

    async def pepper(self) -> str | None:
        """Return the sealed pepper; None before it is created."""
        return await self._database.run(lambda connection: _read_value(connection, PEPPER))

    async def keep_pepper(self, sealed: str) -> str:
        """Record the pepper unless there is one, and return the recorded pepper."""

        async def operation(connection: AsyncConnection) -> str:
            # The lock on this row lets one call run at a time.
            await connection.execute(select(service).where(service.c.name == VERSION).with_for_update())
            if (recorded := await _read_value(connection, PEPPER)) is not None:
                return recorded
            await connection.execute(service.insert().values(name=PEPPER, value=sealed))
            return sealed

        return await self._database.run_in_transaction(operation)

    async def replace_pepper(self, before: str, sealed: str) -> bool:
        """Compare-and-set the pepper from `before` to `sealed`, and return whether it was `before`."""
        unchanged = service.c.name == PEPPER, service.c.value == before

        async def operation(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(update(service).where(*unchanged).values(value=sealed))).rowcount)

        return await self._database.run(operation)


async def _read_value(connection: AsyncConnection, name: str) -> str | None:
    value: str | None = (await connection.execute(select(service.c.value).where(service.c.name == name))).scalar()
    return value
