"""Reads and inserts rows of members, for all changes that add members."""

from dataclasses import asdict, replace

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Change, member_of
from app.adapters.sql.directory_tables import members
from app.domain.teams import MAX_NAME_LENGTH, AuditEntry, Member, Team


async def select_member(connection: AsyncConnection, team_id: str, member_id: str) -> Member | None:
    """Return the member of a team, both by id; None if there is none."""
    query = select(members).where(members.c.id == member_id, members.c.team_id == team_id)
    row = (await connection.execute(query)).first()
    return member_of(row) if row is not None else None


async def insert_member(change: Change, team: Team, member_id: str, name: str) -> tuple[Member, AuditEntry]:
    """Insert a member, and return it with the entry of the audit log."""
    member = Member(member_id, team.id, name, is_stopped=False, created_at=change.now)
    await change.connection.execute(members.insert().values(asdict(member)))
    subject = f"{team.name}/{member.name}"
    return member, change.entry("member.add", subject, after={}, team_id=team.id, member_id=member.id)


async def restore_member(change: Change, team: Team, former: Member, name: str) -> tuple[Member, AuditEntry]:
    """Make a former member a member again, and return it with the entry of the audit log."""
    new_name = await free_name(change.connection, team.id, name, former.id)
    present = update(members).where(members.c.id == former.id).values(name=new_name, removed_at=None)
    await change.connection.execute(present)
    member = replace(former, name=new_name, removed_at=None)
    subject = f"{team.name}/{member.name}"
    return member, change.entry("member.add", subject, after={}, team_id=team.id, member_id=member.id)


async def free_name(connection: AsyncConnection, team_id: str, name: str, member_id: str) -> str:
    """Return `name` if no member of the team has it, else a name that is made with the member's id."""
    candidates = name, f"{name[: MAX_NAME_LENGTH - 9].rstrip()} {member_id[:8]}"
    query = select(members.c.name).where(members.c.team_id == team_id, members.c.name.in_(candidates))
    taken = set((await connection.execute(query)).scalars())
    return next((candidate for candidate in candidates if candidate not in taken), member_id)
