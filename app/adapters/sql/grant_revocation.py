"""Ends grants in a transaction that ends other things too, in SQL that SQLite and PostgreSQL share."""

from sqlalchemy import ColumnElement, and_, delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.engine import SqlClock
from app.adapters.sql.grant_rows import audited_fields, grant_of
from app.adapters.sql.sign_in_changes import audit_insert, increment_version, uncounted_insert
from app.adapters.sql.sign_in_tables import oauth_codes, oauth_grants, oauth_sessions
from app.domain.sign_in import Grant, RevokeReason
from app.domain.teams import Actor


def is_alive(now: SqlClock) -> ColumnElement[bool]:
    """Return the SQL condition for grants that have not ended."""
    return and_(
        oauth_grants.c.revoked_at.is_(None), oauth_grants.c.refresh_until > now(), oauth_grants.c.ends_at > now()
    )


async def revoke_where(
    connection: AsyncConnection, which: ColumnElement[bool], reason: RevokeReason, actor: Actor, now: SqlClock
) -> list[Grant]:
    """Revoke grants that have not ended, each with an entry of the audit log, and return them.

    `increment_version` must come before this.
    """
    ended = update(oauth_grants).where(which, is_alive(now)).values(revoked_at=now(), reason=reason)
    grants = [grant_of(row) for row in await connection.execute(ended.returning(*oauth_grants.c))]
    for grant in grants:
        before, after = audited_fields(grant), {"reason": reason}
        entry = audit_insert("grant.revoke", grant.id, actor=actor.name, before=before, after=after)
        await connection.execute(entry.values(at=now()))
    if grants:
        await connection.execute(uncounted_insert(grants, reason))
    return grants


async def revoke_all_of(
    connection: AsyncConnection, person_id: str, reason: RevokeReason, actor: Actor, now: SqlClock
) -> list[Grant]:
    """Revoke every grant of a person, and return the grants.

    Codes that were not exchanged yet are deleted, so that none becomes a grant afterwards.
    """
    await connection.execute(increment_version())
    await connection.execute(delete(oauth_codes).where(oauth_codes.c.person_id == person_id))
    return await revoke_where(connection, oauth_grants.c.person_id == person_id, reason, actor, now)


async def sign_out(connection: AsyncConnection, person_id: str) -> None:
    """Sign the browsers of a person out."""
    await connection.execute(delete(oauth_sessions).where(oauth_sessions.c.person_id == person_id))
