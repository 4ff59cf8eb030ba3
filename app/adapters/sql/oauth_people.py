"""People who have signed in and the sessions of their browsers, in SQL for both SQLite and PostgreSQL."""

from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.engine import SqlClock, database_now
from app.adapters.sql.inserts import insert_of
from app.adapters.sql.sign_in_changes import audit_insert, increment_version
from app.adapters.sql.sign_in_tables import oauth_people, oauth_sessions
from app.adapters.sql.turns import Operations
from app.domain.sign_in import Person

PERSON_COLUMNS = ("id", "issuer", "subject", "sealed", "checked_at")
"""The columns of a Person, in the order of its fields."""

_COLUMNS = [oauth_people.c[name] for name in PERSON_COLUMNS]


class SqlPeople:
    """The people of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Operations, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._now = now
        self._insert = insert_of(database.kind)

    async def keep(self, person: Person) -> None:
        """Record a person who has signed in. This replaces the earlier secrets. Replicas drop their cached tokens."""
        now = self._now()
        values = {"id": person.id, "issuer": person.issuer, "subject": person.subject, "sealed": person.sealed}
        insertion = self._insert(oauth_people).values(values | {"checked_at": now, "created_at": now})
        statement = insertion.on_conflict_do_update(
            index_elements=[oauth_people.c.id],
            set_={"sealed": insertion.excluded.sealed, "checked_at": insertion.excluded.checked_at},
        )
        audit_insertion = audit_insert(
            "person.sign_in", person.id, actor=f"person:{person.id}", after={"issuer": person.issuer}
        )

        async def operation(connection: AsyncConnection) -> None:
            await connection.execute(increment_version())
            await connection.execute(statement)
            await connection.execute(audit_insertion.values(at=now))

        await self._database.run_in_transaction(operation)

    async def person(self, person_id: str) -> Person | None:
        """Return the person with this id; None if there is none."""
        return await self._select_person(select(*_COLUMNS).where(oauth_people.c.id == person_id))

    async def replace_sealed(self, person: Person, sealed: str) -> bool:
        """Replace the sealed secrets if they are still `person.sealed`, and return whether they were."""
        unchanged = oauth_people.c.sealed == person.sealed
        return await self._update_if(person, unchanged, {"sealed": sealed})

    async def claim_check(self, person: Person) -> bool:
        """Set the time of the last check to now if it is still `person.checked_at`, and return whether it was."""
        unchanged = oauth_people.c.checked_at == person.checked_at
        return await self._update_if(person, unchanged, {"checked_at": self._now()})

    async def all_sealed(self, limit: int, after: str) -> list[Person]:
        """Return at most `limit` people with an id above `after`, by id."""
        query = select(*_COLUMNS).where(oauth_people.c.id > after).order_by(oauth_people.c.id).limit(limit)

        async def operation(connection: AsyncConnection) -> list[Person]:
            return [_person(row) for row in await connection.execute(query)]

        return await self._database.run(operation)

    async def add_session(self, digest: str, person_id: str, seconds: float) -> None:
        """Record a browser session of a person, which expires after `seconds`."""
        values = {"digest": digest, "person_id": person_id, "expires_at": self._now() + seconds}
        insertion = self._insert(oauth_sessions).values(values).on_conflict_do_nothing()
        await self._database.run(lambda connection: connection.execute(insertion))

    async def in_session(self, digest: str) -> Person | None:
        """Return the person of a browser session; None if the session does not exist or has expired."""
        joined = oauth_sessions.join(oauth_people, oauth_people.c.id == oauth_sessions.c.person_id)
        conditions = oauth_sessions.c.digest == digest, oauth_sessions.c.expires_at > self._now()
        return await self._select_person(select(*_COLUMNS).select_from(joined).where(*conditions))

    async def end_session(self, digest: str) -> None:
        """Delete a browser session."""
        statement = delete(oauth_sessions).where(oauth_sessions.c.digest == digest)
        await self._database.run(lambda connection: connection.execute(statement))

    async def end_sessions(self, person_id: str) -> None:
        """Delete all browser sessions of a person."""
        statement = delete(oauth_sessions).where(oauth_sessions.c.person_id == person_id)
        await self._database.run(lambda connection: connection.execute(statement))

    async def _update_if(self, person: Person, unchanged: ColumnElement[bool], values: dict[str, Any]) -> bool:
        statement = update(oauth_people).where(oauth_people.c.id == person.id, unchanged).values(values)

        async def operation(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(statement)).rowcount)

        return await self._database.run(operation)

    async def _select_person(self, query: Select[Any]) -> Person | None:
        async def operation(connection: AsyncConnection) -> Person | None:
            row = (await connection.execute(query)).first()
            return _person(row) if row is not None else None

        return await self._database.run(operation)


def _person(row: Row[Any]) -> Person:
    return Person(row.id, row.issuer, row.subject, row.sealed, row.checked_at)
