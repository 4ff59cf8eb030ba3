"""People who have signed in and the sessions of their browsers, in SQL that SQLite and PostgreSQL share."""

from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.inserts import insert_of
from app.adapters.sql.sign_in_changes import next_version, noted
from app.adapters.sql.sign_in_tables import oauth_people, oauth_sessions
from app.domain.sign_in import Person

PERSON_COLUMNS = ("id", "issuer", "subject", "sealed", "checked_at")
"""The columns that a Person is made of, in the order of its fields."""

_COLUMNS = [oauth_people.c[name] for name in PERSON_COLUMNS]


class SqlPeople:
    """The people of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Keep people in `database`; `now` is the clock, as SQL."""
        self._database = database
        self._now = now
        self._insert = insert_of(database.kind)

    async def keep(self, person: Person) -> None:
        """Record a person who has signed in, in the place of what was known. Tokens are looked up anew from then on."""
        now = self._now()
        values = {"id": person.id, "issuer": person.issuer, "subject": person.subject, "sealed": person.sealed}
        row = self._insert(oauth_people).values(values | {"checked_at": now, "created_at": now})
        kept = row.on_conflict_do_update(
            index_elements=[oauth_people.c.id],
            set_={"sealed": row.excluded.sealed, "checked_at": row.excluded.checked_at},
        )
        entry = noted("person.sign_in", person.id, actor=f"person:{person.id}", after={"issuer": person.issuer})

        async def operation(connection: AsyncConnection) -> None:
            await connection.execute(next_version())
            await connection.execute(kept)
            await connection.execute(entry.values(at=now))

        await self._database.run_as_one(operation)

    async def person(self, person_id: str) -> Person | None:
        """Return the person with this id; None where there is none."""
        return await self._one(select(*_COLUMNS).where(oauth_people.c.id == person_id))

    async def replace_sealed(self, person: Person, sealed: str) -> bool:
        """Compare-and-set what `person.sealed` is, and return whether it was."""
        unchanged = oauth_people.c.sealed == person.sealed
        return await self._changed(person, unchanged, {"sealed": sealed})

    async def claim_check(self, person: Person) -> bool:
        """Compare-and-set what `person.checked_at` is to the present, and return whether it was."""
        unchanged = oauth_people.c.checked_at == person.checked_at
        return await self._changed(person, unchanged, {"checked_at": self._now()})

    async def all_sealed(self, most: int, after: str) -> list[Person]:
        """Return at most `most` people with an id above `after`, by id."""
        wanted = select(*_COLUMNS).where(oauth_people.c.id > after).order_by(oauth_people.c.id).limit(most)

        async def operation(connection: AsyncConnection) -> list[Person]:
            return [_person(row) for row in await connection.execute(wanted)]

        return await self._database.run(operation)

    async def add_session(self, digest: str, person_id: str, seconds: float) -> None:
        """Record that a browser is signed in."""
        values = {"digest": digest, "person_id": person_id, "expires_at": self._now() + seconds}
        row = self._insert(oauth_sessions).values(values).on_conflict_do_nothing()
        await self._database.run(lambda connection: connection.execute(row))

    async def in_session(self, digest: str) -> Person | None:
        """Return who is signed in with a browser; None where nobody is, or the time is over."""
        joined = oauth_sessions.join(oauth_people, oauth_people.c.id == oauth_sessions.c.person_id)
        counts = oauth_sessions.c.digest == digest, oauth_sessions.c.expires_at > self._now()
        return await self._one(select(*_COLUMNS).select_from(joined).where(*counts))

    async def end_session(self, digest: str) -> None:
        """Sign a browser out."""
        ended = delete(oauth_sessions).where(oauth_sessions.c.digest == digest)
        await self._database.run(lambda connection: connection.execute(ended))

    async def end_sessions(self, person_id: str) -> None:
        """Sign a person out in every browser."""
        ended = delete(oauth_sessions).where(oauth_sessions.c.person_id == person_id)
        await self._database.run(lambda connection: connection.execute(ended))

    async def _changed(self, person: Person, unchanged: ColumnElement[bool], values: dict[str, Any]) -> bool:
        changed = update(oauth_people).where(oauth_people.c.id == person.id, unchanged).values(values)

        async def operation(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(changed)).rowcount)

        return await self._database.run(operation)

    async def _one(self, wanted: Select[Any]) -> Person | None:
        async def operation(connection: AsyncConnection) -> Person | None:
            row = (await connection.execute(wanted)).first()
            return _person(row) if row is not None else None

        return await self._database.run(operation)


def _person(row: Row[Any]) -> Person:
    return Person(row.id, row.issuer, row.subject, row.sealed, row.checked_at)
