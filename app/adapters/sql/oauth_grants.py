"""OAuth grants and their tokens, in SQL for both SQLite and PostgreSQL."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Update, and_, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.deletion import DELETION_BATCH_SIZE, delete_in_batches
from app.adapters.sql.engine import SqlClock, database_now
from app.adapters.sql.grant_revocation import active_grant_condition, revoke_and_queue_metric, revoke_where
from app.adapters.sql.grant_rows import (
    HOLDER_COLUMNS,
    audited_fields,
    columns_of,
    digest_and_holder_of,
    grant_of,
    new_grant,
)
from app.adapters.sql.inserts import insert_of
from app.adapters.sql.sign_in_changes import VERSION, audit_insert, increment_version
from app.adapters.sql.sign_in_tables import (
    oauth_access_tokens,
    oauth_codes,
    oauth_grants,
    oauth_pending,
    oauth_people,
    oauth_sessions,
    oauth_uncounted_ends,
)
from app.adapters.sql.tables import service
from app.adapters.sql.turns import Operations
from app.domain.sign_in import MAX_GRANTS, Grant, RevokeReason
from app.domain.teams import written_scopes
from app.ports.sign_in_store import AccessHolder, AuthorizationCode, NewAccess, NewGrant, TokenLifetimes

NOTE_BATCH_SIZE = 500
"""Maximum number of grants that one statement updates, because databases limit the parameters of a statement."""


class SqlGrants:
    """The grants of one database. Every method raises DatabaseUnavailable."""

    def __init__(
        self, database: Operations, now: SqlClock = database_now, *, batch_size: int = DELETION_BATCH_SIZE
    ) -> None:
        """Use `database`. `now` returns the SQL of its clock. Old rows are deleted in batches of `batch_size`."""
        self._database = database
        self._now = now
        self._insert = insert_of(database.kind)
        self._batch_size = batch_size

    async def redeem(
        self, code: AuthorizationCode, new: NewGrant, access: NewAccess, lifetimes: TokenLifetimes
    ) -> Grant | None:
        """Exchange a code for a grant with its tokens; None if the code was already exchanged."""
        statement = (
            update(oauth_codes)
            .where(oauth_codes.c.digest == code.digest, oauth_codes.c.grant_id.is_(None))
            .values(grant_id=new.id)
        )

        async def operation(connection: AsyncConnection) -> Grant | None:
            if not (await connection.execute(statement)).rowcount:
                return await _read_grant(connection, new.id)  # exists if an earlier attempt of this call was committed
            if await self._count_active(connection, code.person_id) >= MAX_GRANTS:
                await connection.execute(increment_version())  # before any grant, because it takes the revocation lock
            now = float((await connection.execute(select(self._now()))).scalar_one())
            grant = new_grant(code, new, lifetimes, now)
            await connection.execute(insert(oauth_grants).values(columns_of(grant)))
            await connection.execute(self._upsert_access(grant, access))
            audit_insertion = audit_insert(
                "grant.create", grant.id, actor=f"person:{grant.person_id}", after=audited_fields(grant)
            )
            await connection.execute(audit_insertion.values(at=now))
            await self._revoke_surplus(connection, grant.person_id)
            return grant

        return await self._database.run_in_transaction(operation)

    async def grant(self, grant_id: str) -> tuple[Grant, float] | None:
        """Return a grant, and the time of the read by the database's clock; None if there is no such grant."""
        columns: list[Any] = [*oauth_grants.c, self._now().label("read_at")]
        query = select(*columns).where(oauth_grants.c.id == grant_id)

        async def operation(connection: AsyncConnection) -> tuple[Grant, float] | None:
            row = (await connection.execute(query)).first()
            return (grant_of(row), row.read_at) if row is not None else None

        return await self._database.run(operation)

    async def rotate(self, grant: Grant, refresh: str, access: NewAccess, lifetimes: TokenLifetimes) -> bool:
        """Replace the refresh token with the digest `grant.current` by the one with the digest `refresh`.

        Return False, without a change, if `grant.current` is no longer current or the grant is revoked.
        """
        now, condition = self._now(), _unchanged(grant)
        values = {
            "generation": grant.generation + 1,
            "current": refresh,
            "previous": grant.current,
            "rotated_at": now,
            "confirmed_at": None,
            "refresh_until": now + lifetimes.refresh,
        }
        next_generation = replace(grant, generation=grant.generation + 1)

        async def operation(connection: AsyncConnection) -> bool:
            if not (await connection.execute(update(oauth_grants).where(condition).values(values))).rowcount:
                return False
            await connection.execute(self._upsert_access(next_generation, access))
            return True

        return await self._database.run_in_transaction(operation)

    async def renew_access(self, grant: Grant, access: NewAccess) -> bool:
        """Insert or extend an access token of the current generation.

        Return False, without a change, if another generation is current or the grant is revoked.
        """
        unchanged = select(oauth_grants.c.id).where(_unchanged(grant)).with_for_update()

        async def operation(connection: AsyncConnection) -> bool:
            if (await connection.execute(unchanged)).first() is None:
                return False
            await connection.execute(self._upsert_access(grant, access))
            return True

        return await self._database.run_in_transaction(operation)

    async def access(self, digests: Collection[str]) -> dict[str, AccessHolder]:
        """Return the holders of the access tokens with these digests, by digest. At most 500 digests are allowed.

        Tokens that are unknown, expired or revoked are left out.
        """
        tokens, now = oauth_access_tokens, self._now()
        joined = tokens.join(oauth_grants, oauth_grants.c.id == tokens.c.grant_id).join(
            oauth_people, oauth_people.c.id == oauth_grants.c.person_id
        )
        conditions = tokens.c.digest.in_(digests), oauth_grants.c.revoked_at.is_(None), tokens.c.expires_at > now
        columns = [*HOLDER_COLUMNS, now.label("read_at")]
        query = select(*columns).select_from(joined).where(*conditions)

        async def operation(connection: AsyncConnection) -> dict[str, AccessHolder]:
            return dict(map(digest_and_holder_of, await connection.execute(query)))

        return await self._database.run(operation)

    async def confirm(self, first_uses: Collection[tuple[str, int]]) -> None:
        """Record the first use of a token of each grant, given by its id and the generation of the token."""
        condition = and_(
            tuple_(oauth_grants.c.id, oauth_grants.c.generation).in_(first_uses), oauth_grants.c.confirmed_at.is_(None)
        )
        statement = update(oauth_grants).where(condition).values(confirmed_at=self._now())
        await self._database.run(lambda connection: connection.execute(statement))

    async def note_used(self, grant_ids: Collection[str], minute: float) -> None:
        """Record that grants were used in the minute that began at `minute` (Unix seconds)."""
        remaining = iter(sorted(grant_ids))
        is_older = oauth_grants.c.last_used_at.is_(None) | (oauth_grants.c.last_used_at < minute)
        while batch := list(islice(remaining, NOTE_BATCH_SIZE)):
            statement = update(oauth_grants).where(oauth_grants.c.id.in_(batch), is_older).values(last_used_at=minute)
            await self._database.run(partial(_execute, statement))

    async def of_person(self, person_id: str) -> list[Grant]:
        """Return the grants of a person that have not ended, the newest first."""
        condition = and_(oauth_grants.c.person_id == person_id, active_grant_condition(self._now))
        query = select(oauth_grants).where(condition).order_by(oauth_grants.c.created_at.desc(), oauth_grants.c.id)

        async def operation(connection: AsyncConnection) -> list[Grant]:
            return [grant_of(row) for row in await connection.execute(query)]

        return await self._database.run(operation)

    async def revoke(self, grant_id: str, reason: RevokeReason, *, person_id: str | None = None) -> Grant | None:
        """Revoke a grant, and return it; None if it does not exist, is already revoked, or is not of `person_id`.

        `person_id` None means any person.
        """
        condition = oauth_grants.c.id == grant_id
        if person_id is not None:
            condition = and_(condition, oauth_grants.c.person_id == person_id)
        return next(iter(await self._revoke_where(condition, reason)), None)

    async def revoke_all(self, person_id: str, reason: RevokeReason) -> int:
        """Revoke every grant of a person, and return their number."""
        return len(await self._revoke_where(oauth_grants.c.person_id == person_id, reason))

    async def version(self) -> int:
        """Return a number that is incremented by every revocation of a grant, and by every sign-in of a person."""
        query = select(service.c.value).where(service.c.name == VERSION)

        async def operation(connection: AsyncConnection) -> int:
            return int((await connection.execute(query)).scalar() or 0)

        return await self._database.run(operation)

    async def take_uncounted(self) -> list[RevokeReason]:
        """Delete all rows of `oauth_uncounted_ends`, and return the reasons of these ends of grants.

        Each end is returned to one process only.
        """
        statement = delete(oauth_uncounted_ends).returning(oauth_uncounted_ends.c.reason)

        async def operation(connection: AsyncConnection) -> list[RevokeReason]:
            return [RevokeReason(reason) for reason in (await connection.execute(statement)).scalars()]

        return await self._database.run(operation)

    async def delete_old(self, ended_seconds: float) -> int:
        """Delete expired codes, sign-ins, sessions and tokens, and grants that ended `ended_seconds` ago or earlier.

        Return the number of deleted rows.
        """
        now, total = self._now(), 0
        for key in (
            oauth_access_tokens.c.digest,
            oauth_codes.c.digest,
            oauth_pending.c.state,
            oauth_sessions.c.digest,
        ):
            old = key.table.c.expires_at < now
            total += await delete_in_batches(self._database, key, old, self._batch_size)
        for ended_at in (oauth_grants.c.revoked_at, oauth_grants.c.refresh_until, oauth_grants.c.ends_at):
            old = ended_at < now - ended_seconds
            total += await delete_in_batches(self._database, oauth_grants.c.id, old, self._batch_size)
        return total

    async def _revoke_where(self, condition: ColumnElement[bool], reason: RevokeReason) -> list[Grant]:
        """Revoke the grants that fulfil `condition`, and return them. If there are none, the version stays."""

        async def operation(connection: AsyncConnection) -> list[Grant]:
            if not await _has_unrevoked(connection, condition):
                return []
            await connection.execute(increment_version())
            return await revoke_where(connection, condition, reason, partial(_actor, reason), self._now)

        return await self._database.run_in_transaction(operation)

    def _upsert_access(self, grant: Grant, access: NewAccess) -> Any:
        """Return the statement that inserts an access token, or extends an existing one."""
        values = {
            "digest": access.digest,
            "grant_id": grant.id,
            "generation": grant.generation,
            "scopes": written_scopes(access.scopes),
            "expires_at": self._now() + access.seconds,
        }
        insertion = self._insert(oauth_access_tokens).values(values)
        return insertion.on_conflict_do_update(
            index_elements=[oauth_access_tokens.c.digest], set_={"expires_at": insertion.excluded.expires_at}
        )

    async def _revoke_surplus(self, connection: AsyncConnection, person_id: str) -> None:
        """Revoke the least recently used grants of a person that exceed MAX_GRANTS."""
        used_at = func.coalesce(oauth_grants.c.last_used_at, oauth_grants.c.created_at)
        condition = and_(oauth_grants.c.person_id == person_id, active_grant_condition(self._now))
        surplus = (
            select(oauth_grants.c.id).where(condition).order_by(used_at.desc()).offset(MAX_GRANTS).limit(MAX_GRANTS)
        )
        ids = list((await connection.execute(surplus)).scalars())
        if ids:
            limit, surplus_ids = RevokeReason.LIMIT, oauth_grants.c.id.in_(ids)
            await revoke_and_queue_metric(connection, surplus_ids, limit, partial(_actor, limit), self._now)

    async def _count_active(self, connection: AsyncConnection, person_id: str) -> int:
        condition = and_(oauth_grants.c.person_id == person_id, active_grant_condition(self._now))
        return int(
            (await connection.execute(select(func.count()).select_from(oauth_grants).where(condition))).scalar_one()
        )


def _actor(reason: RevokeReason, grant: Grant) -> str:
    """Return the actor of a revocation, for the audit log."""
    return f"person:{grant.person_id}" if reason is RevokeReason.PERSON else "service"


async def _execute(statement: Update, connection: AsyncConnection) -> None:
    await connection.execute(statement)


def _unchanged(grant: Grant) -> ColumnElement[bool]:
    """Return the SQL condition that the grant is not revoked and its current refresh token is that of `grant`."""
    return and_(
        oauth_grants.c.id == grant.id, oauth_grants.c.current == grant.current, oauth_grants.c.revoked_at.is_(None)
    )


async def _has_unrevoked(connection: AsyncConnection, condition: ColumnElement[bool]) -> bool:
    """Return whether a grant that fulfils `condition` is not revoked yet."""
    query = select(oauth_grants.c.id).where(condition, oauth_grants.c.revoked_at.is_(None)).limit(1)
    return (await connection.execute(query)).first() is not None


async def _read_grant(connection: AsyncConnection, grant_id: str) -> Grant | None:
    row = (await connection.execute(select(oauth_grants).where(oauth_grants.c.id == grant_id))).first()
    return grant_of(row) if row is not None else None
