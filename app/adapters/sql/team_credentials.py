"""The sealed backend credentials of teams, in SQL for both SQLite and PostgreSQL."""

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Administration, Change, audit_values, team_of
from app.adapters.sql.directory_tables import audit, team_credentials, teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.domain.teams import Actor, AuditEntry, Team, TeamCredential
from app.ports.directory import NotThere


class SqlTeamCredentials:
    """The credentials of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._administration = Administration(database, now)

    async def add(self, credential: TeamCredential, actor: Actor) -> TeamCredential:
        """Record a sealed credential; the database sets its time. Raises NotThere if the team does not exist."""
        return await self._administration.change(actor, lambda change: _insert_credential(change, credential))

    async def replace_all(self, credential: TeamCredential, actor: Actor) -> TeamCredential:
        """Record a sealed credential, and remove the others of its team for its backend. Raises NotThere."""
        others = (
            team_credentials.c.team_id == credential.team_id,
            team_credentials.c.backend == credential.backend,
            team_credentials.c.id != credential.id,
            team_credentials.c.removed_at.is_(None),
        )

        async def operation(change: Change) -> tuple[TeamCredential, AuditEntry | None]:
            before = await _select_credentials(change.connection, *others)
            added, entry = await _insert_credential(change, credential)
            if entry is None:
                return added, None
            removed = update(team_credentials).where(*others).values(sealed="", removed_at=change.now)
            await change.connection.execute(removed)
            team = await _select_team(change.connection, credential.team_id)
            for removed_credential in before:
                removal = _entry(change, "credential.remove", team, removed_credential, is_removal=True)
                await change.connection.execute(audit.insert().values(audit_values(removal)))
            return added, entry

        return await self._administration.change(actor, operation)

    async def of_team(self, team_id: str) -> list[TeamCredential]:
        """Return the credentials of the team with this id that are in use, the oldest first."""
        return await self._in_use(team_credentials.c.team_id == team_id)

    async def in_use(self) -> list[TeamCredential]:
        """Return the credentials of all teams that are in use, the oldest first."""
        return await self._in_use()

    async def remove(self, team: str, credential_id: str, actor: Actor) -> TeamCredential:
        """Mark a credential as removed, and erase its secret. Raises NotThere."""

        async def operation(change: Change) -> tuple[TeamCredential, AuditEntry | None]:
            owner = await change.team(team)
            conditions = team_credentials.c.team_id == owner.id, team_credentials.c.id == credential_id
            if not (credentials := await _select_credentials(change.connection, *conditions)):
                raise NotThere(f"Team {team} has no credential {credential_id}. Look at the list of its credentials.")
            removed_at = change.now if credentials[0].removed_at is None else credentials[0].removed_at
            removed = replace(credentials[0], sealed="", removed_at=removed_at)
            values = {"sealed": "", "removed_at": removed_at}
            await change.connection.execute(update(team_credentials).where(*conditions).values(values))
            return removed, _entry(change, "credential.remove", owner, removed, is_removal=True)

        return await self._administration.change(actor, operation)

    async def replace_sealed(self, credential: TeamCredential, sealed: str) -> bool:
        """Replace the sealed secret if it is still `credential.sealed`, and return whether it was.

        This writes no audit log entry and no new version.
        """
        unchanged = team_credentials.c.id == credential.id, team_credentials.c.sealed == credential.sealed

        async def operation(connection: AsyncConnection) -> bool:
            result = await connection.execute(update(team_credentials).where(*unchanged).values(sealed=sealed))
            return bool(result.rowcount)

        return await self._database.run(operation)

    async def _in_use(self, *where: ColumnElement[bool]) -> list[TeamCredential]:
        conditions = (team_credentials.c.removed_at.is_(None), *where)
        return await self._database.run(lambda connection: _select_credentials(connection, *conditions))


async def _insert_credential(change: Change, credential: TeamCredential) -> tuple[TeamCredential, AuditEntry | None]:
    """Insert a credential, unless an earlier attempt of the same change was committed."""
    if recorded := await _select_credentials(change.connection, team_credentials.c.sealed == credential.sealed):
        return recorded[0], None
    team = await _select_team(change.connection, credential.team_id)
    added = replace(credential, created_at=change.now, removed_at=None)
    await change.connection.execute(team_credentials.insert().values(asdict(added)))
    return added, _entry(change, "credential.add", team, added, is_removal=False)


async def _select_team(connection: AsyncConnection, team_id: str) -> Team:
    row = (await connection.execute(select(teams).where(teams.c.id == team_id))).first()
    if row is None:
        raise NotThere("The team no longer exists. Look at the list of teams.")
    return team_of(row)


async def _select_credentials(connection: AsyncConnection, *where: ColumnElement[bool]) -> list[TeamCredential]:
    oldest_first = (team_credentials.c.created_at, team_credentials.c.id)
    rows = await connection.execute(select(team_credentials).where(*where).order_by(*oldest_first))
    return [TeamCredential(**row._asdict()) for row in rows]


def _entry(change: Change, action: str, team: Team, credential: TeamCredential, *, is_removal: bool) -> AuditEntry:
    fields: dict[str, Any] = {"backend": credential.backend, "hint": credential.hint}
    subject = f"{team.name}/{credential.backend}/{credential.id}"
    before, after = (fields, None) if is_removal else (None, fields)
    return change.entry(action, subject, before=before, after=after, team_id=team.id)
