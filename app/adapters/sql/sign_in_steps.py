"""Unfinished sign-ins and authorization codes, in SQL for both SQLite and PostgreSQL."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.engine import SqlClock, database_now
from app.adapters.sql.inserts import insert_of
from app.adapters.sql.sign_in_tables import oauth_codes, oauth_pending
from app.adapters.sql.turns import Operations
from app.domain.teams import parsed_scopes, written_scopes
from app.ports.sign_in_store import AuthorizationCode, PendingLogin

MAX_PENDING = 10_000
"""Maximum number of sign-ins that are under way, about 600 bytes each. A sign-in takes a person a minute or two."""


class SqlSignInSteps:
    """The steps of sign-ins in one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Operations, now: SqlClock = database_now, *, max_pending: int = MAX_PENDING) -> None:
        """Use `database`. `now` returns the SQL of its clock. About `max_pending` sign-ins may be under way."""
        self._database = database
        self._max_pending = max_pending
        self._added_count = 0
        self._now = now
        self._insert = insert_of(database.kind)

    async def add_pending(self, pending: PendingLogin, seconds: float) -> None:
        """Record a sign-in that has begun. It expires after `seconds`.

        Once in about `max_pending` / 100 calls, the oldest sign-ins beyond `max_pending` are deleted.
        """
        values = {"state": pending.state, "browser": pending.browser, "content": pending.content}
        insertion = self._insert(oauth_pending).values(values | {"expires_at": self._now() + seconds})
        newest_first = select(oauth_pending.c.expires_at).order_by(oauth_pending.c.expires_at.desc())
        oldest_kept = newest_first.offset(self._max_pending - 1).limit(1).scalar_subquery()
        deletes_oldest = self._added_count % max(1, self._max_pending // 100) == 0
        self._added_count += 1

        async def operation(connection: AsyncConnection) -> None:
            await connection.execute(insertion.on_conflict_do_nothing())
            if deletes_oldest:
                await connection.execute(delete(oauth_pending).where(oauth_pending.c.expires_at < oldest_kept))

        await self._database.run(operation)

    async def take_pending(self, state: str, browser: str) -> PendingLogin | None:
        """Return the sign-in with this state and browser, and delete it; None if it does not exist or has expired.

        A sign-in of another browser stays as it is.
        """
        pending = oauth_pending.c
        conditions = pending.state == state, pending.browser == browser, pending.expires_at > self._now()
        statement = delete(oauth_pending).where(*conditions).returning(pending.state, pending.browser, pending.content)

        async def operation(connection: AsyncConnection) -> PendingLogin | None:
            row = (await connection.execute(statement)).first()
            return PendingLogin(row.state, row.browser, row.content) if row is not None else None

        return await self._database.run(operation)

    async def add_code(self, code: AuthorizationCode, seconds: float) -> None:
        """Record a code. It expires after `seconds`."""
        values = {
            "digest": code.digest,
            "client_id": code.client_id,
            "redirect_uri": code.redirect_uri,
            "challenge": code.challenge,
            "scopes": written_scopes(code.scopes),
            "person_id": code.person_id,
            "expires_at": self._now() + seconds,
        }
        insertion = self._insert(oauth_codes).values(values).on_conflict_do_nothing()
        await self._database.run(lambda connection: connection.execute(insertion))

    async def code(self, digest: str) -> AuthorizationCode | None:
        """Return the code with this digest, used or not; None if there is none."""
        is_expired = (oauth_codes.c.expires_at <= self._now()).label("is_expired")
        query = select(*oauth_codes.c, is_expired).where(oauth_codes.c.digest == digest)

        async def operation(connection: AsyncConnection) -> AuthorizationCode | None:
            row = (await connection.execute(query)).first()
            if row is None:
                return None
            return AuthorizationCode(
                row.digest,
                row.client_id,
                row.redirect_uri,
                row.challenge,
                parsed_scopes(row.scopes),
                row.person_id,
                row.grant_id,
                bool(row.is_expired),
            )

        return await self._database.run(operation)
