"""The teams of people whose login names no team, in SQL that SQLite and PostgreSQL share."""

import secrets
from dataclasses import asdict

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Administration, Change, audit_values, member_of, team_of
from app.adapters.sql.directory_tables import audit, members, teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.member_rows import insert_member
from app.adapters.sql.people_tables import person_teams, personal_teams
from app.domain.teams import Actor, AuditEntry, Team
from app.ports.people import Newcomer, PersonTeam, TooManyTeams

PERSONAL = "personal-"
_SHOWN_DIGITS = 12
"""Digits of a person's id in the name of their team."""


class SqlPersonTeams:
    """The teams of people in one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._administration = Administration(database, now)

    async def find(self, person_id: str) -> PersonTeam | None:
        """Return the team that a person has joined by an invitation, else their personal team, else None."""

        async def operation(connection: AsyncConnection) -> PersonTeam | None:
            joined = await find_team(connection, person_teams, person_id)
            return joined or await find_team(connection, personal_teams, person_id)

        return await self._database.run(operation)

    async def make_personal(self, newcomer: Newcomer, actor: Actor, maximum: int) -> PersonTeam:
        """Return the person's personal team. If it is missing, create it, with the person as its member.

        Raises TooManyTeams if it is missing and there are `maximum` personal teams. Changes run one at a time, so the
        maximum is never exceeded.
        """
        team_id = secrets.token_hex(16)

        async def operation(change: Change) -> tuple[PersonTeam, AuditEntry | None]:
            existing = await find_team(change.connection, personal_teams, newcomer.person_id)
            if existing is not None:
                return existing, None
            count = (await change.connection.execute(select(func.count()).select_from(personal_teams))).scalar_one()
            if count >= maximum:
                raise TooManyTeams
            return await _insert_personal_team(change, team_id, newcomer)

        return await self._administration.change(actor, operation)


async def find_team(connection: AsyncConnection, table: Table, person_id: str) -> PersonTeam | None:
    """Return the team of a person in `table`, `person_teams` or `personal_teams`; None if the person has none there."""
    row = (await connection.execute(select(table).where(table.c.person == person_id))).first()
    if row is None:
        return None
    team = (await connection.execute(select(teams).where(teams.c.id == row.team_id))).one()
    member = (await connection.execute(select(members).where(members.c.id == row.member_id))).one()
    conditions = personal_teams.c.person == person_id, personal_teams.c.team_id == row.team_id
    is_personal = (await connection.execute(select(personal_teams.c.person).where(*conditions))).first() is not None
    return PersonTeam(team_of(team), member_of(member), is_personal)


async def _insert_personal_team(
    change: Change, team_id: str, newcomer: Newcomer
) -> tuple[PersonTeam, AuditEntry | None]:
    """Insert the team with its member, and the audit entry of the team.

    Return them with the audit entry of the member, which the caller inserts.
    """
    name = await _free_team_name(change.connection, newcomer.person_id)
    team = Team(
        team_id,
        name,
        "UTC",
        is_stopped=False,
        allows_foreign_ids=False,
        members_see_all=True,
        created_at=change.now,
    )
    await change.connection.execute(teams.insert().values(asdict(team)))
    member, member_entry = await insert_member(change, team, newcomer.member_id(team_id), newcomer.name)
    values = {"person": newcomer.person_id, "team_id": team_id, "member_id": member.id}
    await change.connection.execute(personal_teams.insert().values(values))
    team_entry = change.entry("team.create", name, after={"timezone": team.timezone}, team_id=team_id)
    await change.connection.execute(audit.insert().values(audit_values(team_entry)))
    return PersonTeam(team, member, is_personal=True), member_entry


async def _free_team_name(connection: AsyncConnection, person_id: str) -> str:
    """Return a free name for a personal team. An administrator may have given the usual one to another team."""
    candidates = f"{PERSONAL}{person_id[:_SHOWN_DIGITS]}", f"{PERSONAL}{person_id}"
    taken = set((await connection.execute(select(teams.c.name).where(teams.c.name.in_(candidates)))).scalars())
    return next((name for name in candidates if name not in taken), f"{PERSONAL}{secrets.token_hex(16)}")
