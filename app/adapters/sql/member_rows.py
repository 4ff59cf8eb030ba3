"""Rows of members: what the changes that add members have in common."""

from dataclasses import asdict, replace

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.administration import Change, member_of
from app.adapters.sql.directory_tables import members
from app.domain.teams import MAX_NAME_LENGTH, AuditEntry, Member, Team


async def select_member(connection: AsyncConnection, team_id: str, member_id: str) -> Member | None:
    """Return the member with this id of the team with that id; None if there is none."""
    wanted = select(members).where(members.c.id == member_id, members.c.team_id == team_id)
    row = (await connection.execute(wanted)).first()
    return member_of(row) if row is not None else None


async def insert_member(change: Change, team: Team, member_id: str, name: str) -> tuple[Member, AuditEntry]:
    """Insert a member, and return it with the entry of the audit log."""
    member = Member(member_id, team.id, name, is_stopped=False, created_at=change.now)
    await change.connection.execute(members.insert().values(asdict(member)))
    subject = f"{team.name}/{member.name}"
    return member, change.entry("member.add", subject, after={}, team_id=team.id, member_id=member.id)


async def restore_member(change: Change, team: Team, former: Member, name: str) -> tuple[Member, AuditEntry]:
    """Make a former member a present one, and return it with the entry of the audit log."""
    free = await free_name(change.connection, team.id, name, former.id)
    present = update(members).where(members.c.id == former.id).values(name=free, removed_at=None)
    await change.connection.execute(present)
    member = replace(former, name=free, removed_at=None)
    subject = f"{team.name}/{member.name}"
    return member, change.entry("member.add", subject, after={}, team_id=team.id, member_id=member.id)


async def free_name(connection: AsyncConnection, team_id: str, name: str, member_id: str) -> str:
    """Return `name`, or else a longer name, that no member of the team has."""
    tried = name, f"{name[: MAX_NAME_LENGTH - 9].rstrip()} {member_id[:8]}"
    taken = select(members.c.name).where(members.c.team_id == team_id, members.c.name.in_(tried))
    found = set((await connection.execute(taken)).scalars())
    return next((one for one in tried if one not in found), member_id)
