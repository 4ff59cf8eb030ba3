"""OAuth clients, in SQL for both SQLite and PostgreSQL."""

import json
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, false, or_, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.deletion import DELETION_BATCH_SIZE, delete_in_batches
from app.adapters.sql.engine import SqlClock, database_now
from app.adapters.sql.inserts import insert_of
from app.adapters.sql.sign_in_tables import oauth_assertions, oauth_clients
from app.adapters.sql.turns import Operations
from app.domain.sign_in import ClientAuth, OAuthClient, Registration

USE_INTERVAL_SECONDS = 86_400.0
"""Minimum interval at which the use of a client is recorded. Deletion counts in days, so this is precise enough."""

_FIELDS = ("name", "redirect_uris", "registration", "auth", "secret_digest", "jwks_uri", "jwks")


class SqlClients:
    """The clients of one database. Every method raises DatabaseUnavailable."""

    def __init__(
        self, database: Operations, now: SqlClock = database_now, *, batch_size: int = DELETION_BATCH_SIZE
    ) -> None:
        """Use `database`. `now` returns the SQL of its clock. Old rows are deleted in batches of `batch_size`."""
        self._database = database
        self._now = now
        self._insert = insert_of(database.kind)
        self._batch_size = batch_size

    async def client(self, client_id: str) -> OAuthClient | None:
        """Return the client with this id; None if there is none."""
        query = select(oauth_clients).where(oauth_clients.c.id == client_id)

        async def operation(connection: AsyncConnection) -> OAuthClient | None:
            row = (await connection.execute(query)).first()
            return _client(row) if row is not None else None

        return await self._database.run(operation)

    async def register(self, client: OAuthClient, fingerprint: str | None) -> OAuthClient:
        """Record a client, and return it. If there is one with this fingerprint, return that one and record nothing."""
        values = _columns(client) | {"fingerprint": fingerprint, "created_at": self._now()}
        insertion = self._insert(oauth_clients).values(values).on_conflict_do_nothing()
        is_same = oauth_clients.c.fingerprint == fingerprint if fingerprint is not None else false()
        condition = or_(oauth_clients.c.id == client.id, is_same)

        async def operation(connection: AsyncConnection) -> OAuthClient:
            await connection.execute(insertion)
            return _client((await connection.execute(select(oauth_clients).where(condition))).one())

        return await self._database.run_in_transaction(operation)

    async def keep_document(self, client: OAuthClient, fresh_seconds: float) -> None:
        """Record the content of a client's document. It replaces the earlier content."""
        fresh = {"fresh_until": self._now() + fresh_seconds}
        insertion = self._insert(oauth_clients).values(_columns(client) | fresh | {"created_at": self._now()})
        changed = {name: insertion.excluded[name] for name in (*_FIELDS, "fresh_until")}
        statement = insertion.on_conflict_do_update(
            index_elements=[oauth_clients.c.id],
            set_=changed,
            where=oauth_clients.c.registration == Registration.DOCUMENT,
        )
        await self._database.run(lambda connection: connection.execute(statement))

    async def extend_document(self, client: OAuthClient, seconds: float) -> None:
        """Let a stored document be fresh for `seconds` from now, unless it was replaced since `client` was read."""
        statement = update(oauth_clients).where(*_is_unchanged(client)).values(fresh_until=self._now() + seconds)
        await self._database.run(lambda connection: connection.execute(statement))

    async def delete_document(self, client: OAuthClient) -> None:
        """Delete a client that a document describes, unless it was replaced since `client` was read."""
        statement = delete(oauth_clients).where(*_is_unchanged(client))
        await self._database.run(lambda connection: connection.execute(statement))

    async def note_used(self, client_id: str) -> None:
        """Record that a person has authorized a client, or that the client has used its grant."""
        is_older = oauth_clients.c.used_at.is_(None) | (oauth_clients.c.used_at < self._now() - USE_INTERVAL_SECONDS)
        statement = update(oauth_clients).where(oauth_clients.c.id == client_id, is_older).values(used_at=self._now())
        await self._database.run(lambda connection: connection.execute(statement))

    async def of_operator(self) -> list[OAuthClient]:
        """Return the clients that an operator has registered, ordered by name."""
        condition = oauth_clients.c.registration == Registration.MANUAL
        query = select(oauth_clients).where(condition).order_by(oauth_clients.c.name, oauth_clients.c.id)

        async def operation(connection: AsyncConnection) -> list[OAuthClient]:
            return [_client(row) for row in await connection.execute(query)]

        return await self._database.run(operation)

    async def remove(self, client_id: str) -> bool:
        """Delete a client that an operator has registered, and return whether it existed."""
        conditions = oauth_clients.c.id == client_id, oauth_clients.c.registration == Registration.MANUAL

        async def operation(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(delete(oauth_clients).where(*conditions))).rowcount)

        return await self._database.run(operation)

    async def use_assertion(self, digest: str, seconds: float) -> bool:
        """Record the digest of an assertion for `seconds`, and return whether it is new."""
        values = {"digest": digest, "expires_at": self._now() + seconds}
        insertion = (
            self._insert(oauth_assertions).values(values).on_conflict_do_nothing().returning(oauth_assertions.c.digest)
        )

        async def operation(connection: AsyncConnection) -> bool:
            return (await connection.execute(insertion)).first() is not None

        return await self._database.run(operation)

    async def delete_idle(self, unused_seconds: float, idle_seconds: float) -> int:
        """Delete clients that were never used in `unused_seconds` since their registration, or not in `idle_seconds`.

        Clients that an operator has registered are kept. Expired assertions are deleted as well.
        """
        now = self._now()
        await self._database.run(
            lambda connection: connection.execute(delete(oauth_assertions).where(oauth_assertions.c.expires_at < now))
        )
        is_idle = or_(
            and_(oauth_clients.c.used_at.is_(None), oauth_clients.c.created_at < now - unused_seconds),
            oauth_clients.c.used_at < now - idle_seconds,
        )
        old = and_(oauth_clients.c.registration != Registration.MANUAL, is_idle)
        return await delete_in_batches(self._database, oauth_clients.c.id, old, self._batch_size)


def _is_unchanged(client: OAuthClient) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the row of a client whose document was not fetched since `client` was read."""
    is_document = oauth_clients.c.registration == Registration.DOCUMENT
    return oauth_clients.c.id == client.id, is_document, oauth_clients.c.fresh_until == client.fresh_until


def _client(row: Row[Any]) -> OAuthClient:
    return OAuthClient(
        row.id,
        row.name,
        tuple(json.loads(row.redirect_uris)),
        Registration(row.registration),
        ClientAuth(row.auth),
        row.secret_digest,
        row.jwks_uri,
        row.jwks,
        row.fresh_until,
    )


def _columns(client: OAuthClient) -> dict[str, Any]:
    values = {name: getattr(client, name) for name in _FIELDS}
    return values | {"id": client.id, "redirect_uris": json.dumps(client.redirect_uris)}
