"""Invitations into teams, in SQL that SQLite and PostgreSQL share."""

from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Administration, Change, audit_values, team_named, team_of
from app.adapters.sql.directory_tables import audit, teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.inserts import insert_into
from app.adapters.sql.member_rows import free_name, insert_member, restore_member, select_member
from app.adapters.sql.people_tables import invitations, person_teams
from app.adapters.sql.person_teams import find_team
from app.domain.invitations import Invitation
from app.domain.teams import Actor, AuditEntry, Member, Team
from app.ports.directory import NotThere
from app.ports.people import InvitationEnded, Newcomer, NewInvitation, PersonTeam

KEPT_SECONDS = 30 * 86_400.0
"""Time after its expiry for which an invitation stays in the database. After that, the next `create` deletes it."""

_MISSING = "There is no open invitation with the id {id}. Look at the list of invitations."


class SqlInvitations:
    """The invitations of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._administration = Administration(database, now)
        self._now = now

    async def create(
        self, team: str, new: NewInvitation, actor: Actor, *, expires_seconds: float, note: str = ""
    ) -> Invitation:
        """Record an invitation into the team of this name. Raises NotThere."""

        async def operation(change: Change) -> tuple[Invitation, AuditEntry | None]:
            owner = await change.team(team)
            if (row := await _select_row(change.connection, invitations.c.id == new.id)) is not None:
                return _invitation(row, owner), None
            old = invitations.c.expires_at < change.now - KEPT_SECONDS
            await change.connection.execute(delete(invitations).where(old))
            invitation = Invitation(new.id, owner, note, change.now, change.now + expires_seconds)
            await change.connection.execute(invitations.insert().values(_columns(invitation, new)))
            return invitation, _entry(
                change, "member.invite", invitation, after={"note": note, "expires_at": invitation.expires_at}
            )

        return await self._administration.change(actor, operation)

    async def of_team(self, team: str) -> list[Invitation]:
        """Return the open invitations into the team of this name, oldest first. Raises NotThere."""

        async def operation(connection: AsyncConnection) -> list[Invitation]:
            owner = await team_named(connection, team)
            condition = and_(invitations.c.team_id == owner.id, self._is_open())
            query = select(invitations).where(condition).order_by(invitations.c.created_at, invitations.c.id)
            return [_invitation(row, owner) for row in await connection.execute(query)]

        return await self._database.run(operation)

    async def find(self, digest: str) -> Invitation | None:
        """Return the open invitation with this digest; None if there is none."""

        async def operation(connection: AsyncConnection) -> Invitation | None:
            row = await _select_row(connection, and_(invitations.c.digest == digest, self._is_open()))
            return _invitation(row, await _select_team(connection, row)) if row is not None else None

        return await self._database.run(operation)

    async def end(self, invitation_id: str, actor: Actor, *, team_id: str | None = None) -> Invitation:
        """End an invitation. If `team_id` is not None, it must be an invitation into this team.

        An invitation that was ended before is returned. Raises NotThere if it is missing, used or expired.
        """

        async def operation(change: Change) -> tuple[Invitation, AuditEntry | None]:
            row = await _select_row(change.connection, invitations.c.id == invitation_id)
            if row is None or team_id not in (None, row.team_id) or _is_over(row, change.now):
                raise NotThere(_MISSING.format(id=invitation_id))
            invitation = _invitation(row, await _select_team(change.connection, row))
            if row.ended_at is not None:
                return invitation, None
            ended = update(invitations).where(invitations.c.id == invitation_id).values(ended_at=change.now)
            await change.connection.execute(ended)
            return invitation, _entry(change, "invitation.end", invitation, before={"note": invitation.note})

        return await self._administration.change(actor, operation)

    async def join(self, digest: str, newcomer: Newcomer, actor: Actor) -> Member:
        """Use an invitation up, and bind a person to its team. Raises InvitationEnded.

        A binding to an earlier team ends. The person becomes a member unless they are one. If two people use
        the invitation at once, one of them joins.
        """

        async def operation(change: Change) -> tuple[Member, AuditEntry | None]:
            row = await _select_row(change.connection, invitations.c.digest == digest)
            before = await find_team(change.connection, person_teams, newcomer.person_id)
            if row is None:
                raise InvitationEnded
            if before is not None and (row.used_by, row.team_id) == (newcomer.person_id, before.team.id):
                return before.member, None  # an earlier attempt of the same change was committed
            if row.ended_at is not None or _is_over(row, change.now):
                raise InvitationEnded
            invitation = _invitation(row, await _select_team(change.connection, row))
            return await _bind(change, invitation, newcomer, before)

        return await self._administration.change(actor, operation)

    def _is_open(self) -> ColumnElement[bool]:
        return and_(
            invitations.c.used_by.is_(None), invitations.c.ended_at.is_(None), invitations.c.expires_at > self._now()
        )


async def _bind(
    change: Change, invitation: Invitation, newcomer: Newcomer, before: PersonTeam | None
) -> tuple[Member, AuditEntry]:
    """Bind a person to the team of an open invitation, and return the member with the entry of the audit log."""
    team = invitation.team
    statement = update(invitations).where(invitations.c.id == invitation.id).values(used_by=newcomer.person_id)
    await change.connection.execute(statement)
    member = await _find_or_add_member(change, team, newcomer)
    values = {"person": newcomer.person_id, "team_id": team.id, "member_id": member.id}
    insertion = insert_into(change.connection, person_teams).values(values)
    replaced = {"team_id": insertion.excluded.team_id, "member_id": insertion.excluded.member_id}
    await change.connection.execute(
        insertion.on_conflict_do_update(index_elements=[person_teams.c.person], set_=replaced)
    )
    if before is not None and before.team.id != team.id:
        await _record_leave(change, before)
    subject = f"{team.name}/{member.name}"
    after = {"invitation": invitation.id}
    return member, change.entry("member.join", subject, after=after, team_id=team.id, member_id=member.id)


async def _find_or_add_member(change: Change, team: Team, newcomer: Newcomer) -> Member:
    """Return the person as a member of the team. Add the person, or restore a former member, if necessary."""
    member_id = newcomer.member_id(team.id)
    recorded = await select_member(change.connection, team.id, member_id)
    if recorded is not None and recorded.removed_at is None:
        return recorded
    if recorded is not None:
        member, entry = await restore_member(change, team, recorded, newcomer.name)
    else:
        name = await free_name(change.connection, team.id, newcomer.name, member_id)
        member, entry = await insert_member(change, team, member_id, name)
    await change.connection.execute(audit.insert().values(audit_values(entry)))
    return member


async def _record_leave(change: Change, former: PersonTeam) -> None:
    """Record in the audit log that a person no longer acts for the team in `former`. The member stays listed."""
    subject = f"{former.team.name}/{former.member.name}"
    entry = change.entry("member.leave", subject, before={}, team_id=former.team.id, member_id=former.member.id)
    await change.connection.execute(audit.insert().values(audit_values(entry)))


async def _select_row(connection: AsyncConnection, where: ColumnElement[bool]) -> Row[Any] | None:
    return (await connection.execute(select(invitations).where(where))).first()


async def _select_team(connection: AsyncConnection, row: Row[Any]) -> Team:
    return team_of((await connection.execute(select(teams).where(teams.c.id == row.team_id))).one())


def _is_over(row: Row[Any], now: float) -> bool:
    return row.used_by is not None or row.expires_at <= now


def _invitation(row: Row[Any], team: Team) -> Invitation:
    return Invitation(row.id, team, row.note, row.created_at, row.expires_at)


def _columns(invitation: Invitation, new: NewInvitation) -> dict[str, Any]:
    return {
        "id": invitation.id,
        "team_id": invitation.team.id,
        "digest": new.digest,
        "note": invitation.note,
        "created_at": invitation.created_at,
        "expires_at": invitation.expires_at,
    }


def _entry(
    change: Change,
    action: str,
    invitation: Invitation,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEntry:
    subject = f"{invitation.team.name}/{invitation.id}"
    return change.entry(action, subject, before=before, after=after, team_id=invitation.team.id)
