"""The grants of all people, for operators, in SQL that SQLite and PostgreSQL share."""

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.grant_rows import audited_fields, grant_of
from app.adapters.sql.oauth_people import PERSON_COLUMNS
from app.adapters.sql.sign_in_changes import audit_insert, increment_version, uncounted_insert
from app.adapters.sql.sign_in_tables import oauth_codes, oauth_grants, oauth_people, oauth_sessions
from app.domain.sign_in import Grant, Person, RevokeReason
from app.domain.teams import Actor


class SqlGrantDirectory:
    """The grants of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._now = now

    async def page(self, limit: int, after: str) -> list[tuple[Grant, Person]]:
        """Return at most `limit` grants with ids above `after`, by id, each with its person."""
        people = [oauth_people.c[name].label(f"person_{name}") for name in PERSON_COLUMNS if name != "id"]
        joined = oauth_grants.join(oauth_people, oauth_people.c.id == oauth_grants.c.person_id)
        wanted = (
            select(*oauth_grants.c, *people)
            .select_from(joined)
            .where(self._is_alive(), oauth_grants.c.id > after)
            .order_by(oauth_grants.c.id)
            .limit(limit)
        )

        async def operation(connection: AsyncConnection) -> list[tuple[Grant, Person]]:
            found = []
            for row in await connection.execute(wanted):
                person = Person(
                    row.person_id, row.person_issuer, row.person_subject, row.person_sealed, row.person_checked_at
                )
                found.append((grant_of(row), person))
            return found

        return await self._database.run(operation)

    async def revoke(self, grant_id: str, actor: Actor) -> Grant | None:
        """Revoke a grant, and return it; None if it does not exist or has ended."""

        async def operation(connection: AsyncConnection) -> Grant | None:
            await connection.execute(increment_version())
            revoked = await self._revoke_where(connection, oauth_grants.c.id == grant_id, actor)
            return revoked[0] if revoked else None

        return await self._database.run_in_transaction(operation)

    async def revoke_all(self, person_id: str, actor: Actor) -> list[Grant]:
        """Revoke every grant of a person, sign their browsers out, and return the grants.

        Codes that were not exchanged yet are deleted, so that none becomes a grant afterwards.
        """

        async def operation(connection: AsyncConnection) -> list[Grant]:
            await connection.execute(increment_version())
            await connection.execute(delete(oauth_sessions).where(oauth_sessions.c.person_id == person_id))
            await connection.execute(delete(oauth_codes).where(oauth_codes.c.person_id == person_id))
            return await self._revoke_where(connection, oauth_grants.c.person_id == person_id, actor)

        return await self._database.run_in_transaction(operation)

    def _is_alive(self) -> ColumnElement[bool]:
        now = self._now()
        return and_(
            oauth_grants.c.revoked_at.is_(None), oauth_grants.c.refresh_until > now, oauth_grants.c.ends_at > now
        )

    async def _revoke_where(self, connection: AsyncConnection, which: ColumnElement[bool], actor: Actor) -> list[Grant]:
        """Revoke grants, each with an entry of the audit log, and return them."""
        now, reason = self._now(), RevokeReason.OPERATOR
        revoked = (
            update(oauth_grants)
            .where(which, self._is_alive())
            .values(revoked_at=now, reason=reason)
            .returning(*oauth_grants.c)
        )
        grants = [grant_of(row) for row in await connection.execute(revoked)]
        for grant in grants:
            after = {"reason": reason}
            entry = audit_insert("grant.revoke", grant.id, actor=actor.name, before=audited_fields(grant), after=after)
            await connection.execute(entry.values(at=now))
        if grants:
            await connection.execute(uncounted_insert(grants, reason))
        return grants
