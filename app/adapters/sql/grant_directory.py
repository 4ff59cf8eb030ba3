"""The grants of all people, for operators, in SQL that SQLite and PostgreSQL share."""

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.grant_revocation import active_grant_condition, revoke_all_of, revoke_and_queue_metric, sign_out
from app.adapters.sql.grant_rows import grant_of
from app.adapters.sql.oauth_people import PERSON_COLUMNS
from app.adapters.sql.sign_in_changes import increment_version
from app.adapters.sql.sign_in_tables import oauth_grants, oauth_people
from app.domain.sign_in import Grant, Person, RevokeReason
from app.domain.teams import Actor


class SqlGrantDirectory:
    """The grants of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._now = now

    async def page(self, limit: int, after: str) -> list[tuple[Grant, Person]]:
        """Return at most `limit` grants that have not ended, with ids above `after`, by id, each with its person."""
        people = [oauth_people.c[name].label(f"person_{name}") for name in PERSON_COLUMNS if name != "id"]
        joined = oauth_grants.join(oauth_people, oauth_people.c.id == oauth_grants.c.person_id)
        query = (
            select(*oauth_grants.c, *people)
            .select_from(joined)
            .where(active_grant_condition(self._now), oauth_grants.c.id > after)
            .order_by(oauth_grants.c.id)
            .limit(limit)
        )

        async def operation(connection: AsyncConnection) -> list[tuple[Grant, Person]]:
            grants = []
            for row in await connection.execute(query):
                person = Person(
                    row.person_id, row.person_issuer, row.person_subject, row.person_sealed, row.person_checked_at
                )
                grants.append((grant_of(row), person))
            return grants

        return await self._database.run(operation)

    async def revoke(self, grant_id: str, actor: Actor) -> Grant | None:
        """Revoke a grant, and return it; None if it does not exist or has ended."""

        async def operation(connection: AsyncConnection) -> Grant | None:
            await connection.execute(increment_version())
            condition = and_(oauth_grants.c.id == grant_id, active_grant_condition(self._now))
            name = actor.name
            revoked = await revoke_and_queue_metric(
                connection, condition, RevokeReason.OPERATOR, lambda _grant: name, self._now
            )
            return revoked[0] if revoked else None

        return await self._database.run_in_transaction(operation)

    async def revoke_all(self, person_id: str, actor: Actor) -> list[Grant]:
        """Revoke every grant of a person, delete their codes, sign their browsers out, and return the grants."""

        async def operation(connection: AsyncConnection) -> list[Grant]:
            grants = await revoke_all_of(connection, person_id, RevokeReason.OPERATOR, actor, self._now)
            await sign_out(connection, person_id)
            return grants

        return await self._database.run_in_transaction(operation)
