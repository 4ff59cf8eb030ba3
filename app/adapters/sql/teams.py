"""Teams and members, in SQL for both SQLite and PostgreSQL."""

import secrets
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Administration, Change, member_of, team_named, team_of
from app.adapters.sql.budgets import insert_missing_windows
from app.adapters.sql.directory_tables import members, teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.limit_rows import window_limits
from app.adapters.sql.member_rows import free_name, insert_member, select_member
from app.adapters.sql.people_tables import personal_teams
from app.domain.budget import Spender
from app.domain.money import amount_text
from app.domain.rate_limit import RateLimit
from app.domain.teams import Actor, AuditEntry, Member, Team
from app.ports.directory import AlreadyThere


class SqlTeams:
    """The teams of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._administration = Administration(database, now)
        self._now = now

    async def create(self, name: str, timezone: str, actor: Actor) -> Team:
        """Create a team. Raises AlreadyThere."""
        team_id = secrets.token_hex(16)

        async def operation(change: Change) -> tuple[Team, AuditEntry | None]:
            existing = (await change.connection.execute(select(teams).where(teams.c.name == name))).first()
            if existing is not None and existing.id == team_id:
                return team_of(existing), None
            if existing is not None:
                raise AlreadyThere(f"There is a team {name} already. Choose another name.")
            team = Team(
                team_id,
                name,
                timezone,
                is_stopped=False,
                allows_foreign_ids=False,
                members_see_all=True,
                created_at=change.now,
            )
            await change.connection.execute(teams.insert().values(asdict(team)))
            return team, change.entry("team.create", name, after={"timezone": timezone}, team_id=team_id)

        return await self._administration.change(actor, operation)

    async def all(self) -> list[Team]:
        """Return every team, ordered by name."""

        async def operation(connection: AsyncConnection) -> list[Team]:
            return [team_of(row) for row in await connection.execute(select(teams).order_by(teams.c.name))]

        return await self._database.run(operation)

    async def team(self, name: str) -> Team:
        """Return the team of this name. Raises NotThere."""
        return await self._database.run(lambda connection: team_named(connection, name))

    async def stop(self, name: str, actor: Actor, *, is_stopped: bool = True) -> Team:
        """Stop the spending of a whole team, or resume it. Raises NotThere."""
        return await self._update_team(
            "team.stop" if is_stopped else "team.resume", name, actor, {"is_stopped": is_stopped}
        )

    async def change(  # noqa: PLR0913 - a team has these settings
        self,
        name: str,
        actor: Actor,
        *,
        timezone: str | None = None,
        allows_foreign_ids: bool | None = None,
        members_see_all: bool | None = None,
        asks_above: int | Literal["never"] | None = None,
    ) -> Team:
        """Change the settings that are not None. Raises NotThere."""
        settings = {
            "timezone": timezone,
            "allows_foreign_ids": allows_foreign_ids,
            "members_see_all": members_see_all,
            "asks_above": asks_above,
        }
        values = {column: _column_value(value) for column, value in settings.items() if value is not None}
        return await self._update_team("team.change", name, actor, values) if values else await self.team(name)

    async def _update_team(self, action: str, name: str, actor: Actor, values: dict[str, Any]) -> Team:
        async def operation(change: Change) -> tuple[Team, AuditEntry | None]:
            team = await change.team(name)
            await change.connection.execute(update(teams).where(teams.c.id == team.id).values(values))
            if "timezone" in values:
                await insert_missing_windows(change.connection, team.id, self._now)
            before = {column: _audited_value(column, getattr(team, column)) for column in values}
            after = {column: _audited_value(column, value) for column, value in values.items()}
            entry = change.entry(action, name, before=before, after=after, team_id=team.id)
            return replace(team, **values), entry

        return await self._administration.change(actor, operation)

    async def add_member(self, team: str, name: str, actor: Actor) -> Member:
        """Add a member to a team. Raises NotThere and AlreadyThere."""
        member_id = secrets.token_hex(16)

        async def operation(change: Change) -> tuple[Member, AuditEntry | None]:
            owner = await change.team(team)
            query = select(members).where(members.c.team_id == owner.id, members.c.name == name)
            existing = (await change.connection.execute(query)).first()
            if existing is not None and existing.id == member_id:
                return member_of(existing), None
            if existing is not None:
                raise AlreadyThere(f"Team {team} has a member {name} already. Choose another name.")
            return await insert_member(change, owner, member_id, name)

        return await self._administration.change(actor, operation)

    async def named(self, names: Collection[str]) -> list[Team]:
        """Return the teams that have one of these names. Personal teams are left out."""
        is_personal = teams.c.id.in_(select(personal_teams.c.team_id))

        async def operation(connection: AsyncConnection) -> list[Team]:
            query = select(teams).where(teams.c.name.in_(names), ~is_personal).order_by(teams.c.name)
            return [team_of(row) for row in await connection.execute(query)]

        return await self._database.run(operation)

    async def member(self, team_id: str, member_id: str) -> Member | None:
        """Return the member of a team, both by id; None if there is none."""
        return await self._database.run(lambda connection: select_member(connection, team_id, member_id))

    async def window_limits(self, team_id: str, member_id: str) -> tuple[RateLimit, ...]:
        """Return the limits with a time window that apply to a member without a key: the member's and the team's."""
        return await self._database.run(lambda connection: window_limits(connection, Spender(team_id, member_id)))

    async def join(self, team: Team, member_id: str, name: str, actor: Actor) -> Member:
        """Return the member with this id, who is added to `team` if necessary.

        If the name is taken, a part of the id is appended. `member_id` has 32 hex digits.
        """

        async def operation(change: Change) -> tuple[Member, AuditEntry | None]:
            if (existing := await select_member(change.connection, team.id, member_id)) is not None:
                return existing, None
            free_member_name = await free_name(change.connection, team.id, name, member_id)
            return await insert_member(change, team, member_id, free_member_name)

        return await self._administration.change(actor, operation)

    async def members(self, team: str) -> list[Member]:
        """Return the members of a team, ordered by name. Raises NotThere."""

        async def operation(connection: AsyncConnection) -> list[Member]:
            owner = await team_named(connection, team)
            conditions = members.c.team_id == owner.id, members.c.removed_at.is_(None)
            query = select(members).where(*conditions).order_by(members.c.name)
            return [member_of(row) for row in await connection.execute(query)]

        return await self._database.run(operation)

    async def stop_member(self, team: str, name: str, actor: Actor, *, is_stopped: bool = True) -> Member:
        """Stop a member's spending, or resume it. Raises NotThere."""

        async def operation(change: Change) -> tuple[Member, AuditEntry | None]:
            owner = await change.team(team)
            member = await change.member(owner, name)
            await change.connection.execute(
                update(members).where(members.c.id == member.id).values(is_stopped=is_stopped)
            )
            entry = change.entry(
                "member.stop" if is_stopped else "member.resume",
                f"{team}/{name}",
                before={"is_stopped": member.is_stopped},
                after={"is_stopped": is_stopped},
                team_id=owner.id,
                member_id=member.id,
            )
            return replace(member, is_stopped=is_stopped), entry

        return await self._administration.change(actor, operation)


def _audited_value(column: str, value: Any) -> Any:
    """Return the value of a column for the audit log, which has amounts in the unit of the price."""
    return amount_text(value) if column == "asks_above" and value is not None else value


def _column_value(value: str | int) -> str | int | None:
    return None if value == "never" else value
