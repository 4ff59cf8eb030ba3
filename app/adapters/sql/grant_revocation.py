"""Revokes OAuth grants inside the caller's transaction, in SQL that SQLite and PostgreSQL share."""

from collections.abc import Callable

from sqlalchemy import ColumnElement, and_, delete, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.engine import SqlClock
from app.adapters.sql.grant_rows import audited_fields, grant_of
from app.adapters.sql.sign_in_changes import audit_insert, increment_version
from app.adapters.sql.sign_in_tables import oauth_codes, oauth_grants, oauth_sessions, oauth_uncounted_ends
from app.domain.sign_in import Grant, RevokeReason
from app.domain.teams import Actor


def active_grant_condition(now: SqlClock) -> ColumnElement[bool]:
    """Return the SQL condition for grants that have not ended."""
    return and_(
        oauth_grants.c.revoked_at.is_(None), oauth_grants.c.refresh_until > now(), oauth_grants.c.ends_at > now()
    )


async def revoke_where(
    connection: AsyncConnection,
    condition: ColumnElement[bool],
    reason: RevokeReason,
    actor_of: Callable[[Grant], str],
    now: SqlClock,
) -> list[Grant]:
    """Revoke the grants that fulfil `condition`, each with an entry of the audit log, and return them.

    Grants that are already revoked are left out. `actor_of` returns the actor of an entry. The caller must have
    executed `increment_version` as the first statement of this transaction.
    """
    revocation = update(oauth_grants).where(condition, oauth_grants.c.revoked_at.is_(None))
    statement = revocation.values(revoked_at=now(), reason=reason).returning(*oauth_grants.c)
    grants = [grant_of(row) for row in await connection.execute(statement)]
    for grant in grants:
        before, after = audited_fields(grant), {"reason": reason}
        audit_insertion = audit_insert("grant.revoke", grant.id, actor=actor_of(grant), before=before, after=after)
        await connection.execute(audit_insertion.values(at=now()))
    return grants


async def revoke_and_queue_metric(
    connection: AsyncConnection,
    condition: ColumnElement[bool],
    reason: RevokeReason,
    actor_of: Callable[[Grant], str],
    now: SqlClock,
) -> list[Grant]:
    """Revoke grants as `revoke_where` does. Also insert a row for each, from which one replica later counts its end."""
    grants = await revoke_where(connection, condition, reason, actor_of, now)
    if grants:
        ends = [{"grant_id": grant.id, "reason": reason} for grant in grants]
        await connection.execute(oauth_uncounted_ends.insert().values(ends))
    return grants


async def revoke_all_of(
    connection: AsyncConnection, person_id: str, reason: RevokeReason, actor: Actor, now: SqlClock
) -> list[Grant]:
    """Revoke every grant of a person that has not ended, and return these grants.

    Codes that were not exchanged yet are deleted, so that none becomes a grant afterwards.
    """
    await connection.execute(increment_version())
    await connection.execute(delete(oauth_codes).where(oauth_codes.c.person_id == person_id))
    condition = and_(oauth_grants.c.person_id == person_id, active_grant_condition(now))
    return await revoke_and_queue_metric(connection, condition, reason, lambda _grant: actor.name, now)


async def sign_out(connection: AsyncConnection, person_id: str) -> None:
    """Delete the browser sessions of a person."""
    await connection.execute(delete(oauth_sessions).where(oauth_sessions.c.person_id == person_id))
