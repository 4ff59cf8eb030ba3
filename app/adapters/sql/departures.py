"""Ends of memberships and of personal teams, in SQL that SQLite and PostgreSQL share."""

from collections.abc import Collection

from sqlalchemy import delete, exists, select, union, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Administration, Change, audit_values, team_of
from app.adapters.sql.budget_tables import budget_alerts, budget_windows, budgets, ledger
from app.adapters.sql.directory_tables import api_keys, audit, members, team_credentials, teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.grant_revocation import revoke_all_of, sign_out
from app.adapters.sql.member_rows import free_name, select_member
from app.adapters.sql.people_tables import invitations, person_teams, personal_teams
from app.adapters.sql.rate_limit_tables import rate_limits
from app.domain.sign_in import RevokeReason
from app.domain.teams import MAX_NAME_LENGTH, Actor, AuditEntry, Member, Team
from app.ports.directory import NotAllowed, NotThere
from app.ports.people import Departed, Departure

FORMER = " (removed)"
"""Appended to the name of a former member, so that another member may have the name."""

_OWNER = (
    "Team {team} was made for {name} alone, who cannot be removed from it. `luma-mcp teams delete` deletes the team, "
    "and `luma-mcp teams stop` stops it."
)
_NOT_PERSONAL = "Team {team} is not a personal team, and only those can be deleted. `luma-mcp teams stop` stops it."


_OF_TEAM = (budget_alerts, budgets, rate_limits, invitations, person_teams, personal_teams, team_credentials)
"""Tables whose rows are deleted with their team."""


class SqlDepartures:
    """The ends of memberships in one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._administration = Administration(database, now)
        self._now = now

    async def remove(self, team: str, departure: Departure, actor: Actor) -> Departed:
        """End a membership with its keys, and the grants of its person. Raises NotThere and NotAllowed."""
        earlier_results: list[Departed] = []

        async def operation(change: Change) -> tuple[Departed, AuditEntry | None]:
            named_team = await change.team(team)
            member = await select_member(change.connection, named_team.id, departure.member_id)
            if member is not None and member.removed_at is not None and earlier_results:
                return earlier_results[0], None  # an earlier attempt was committed after all
            if member is None or member.removed_at is not None:
                raise NotThere(f"Team {team} has no such member any more. Look at the list of its members.")
            if await _is_personal_owner(change.connection, member):
                raise NotAllowed(_OWNER.format(team=team, name=member.name))
            keys = await _revoke_keys(change, named_team, member)
            await change.connection.execute(delete(person_teams).where(person_teams.c.member_id == member.id))
            name = await free_name(change.connection, named_team.id, _former_name(member.name), member.id)
            statement = update(members).where(members.c.id == member.id).values(name=name, removed_at=change.now)
            await change.connection.execute(statement)
            grants = await self._end_grants(change, departure.person_id, keeps_sessions=departure.is_own_wish)
            entry = change.entry(
                "member.leave" if departure.is_own_wish else "member.remove",
                f"{named_team.name}/{member.name}",
                before={"keys": keys, "grants": grants},
                team_id=named_team.id,
                member_id=member.id,
            )
            earlier_results.append(Departed(member, keys, grants))
            return earlier_results[0], entry

        return await self._administration.change(actor, operation)

    async def delete_personal(self, team: str, person_ids: Collection[str], actor: Actor) -> Team:
        """Delete a personal team, and end the grants of these people. Raises NotThere and NotAllowed."""
        earlier_results: list[Team] = []

        async def operation(change: Change) -> tuple[Team, AuditEntry | None]:
            try:
                named_team = await change.team(team)
            except NotThere:
                if earlier_results:
                    return earlier_results[0], None  # an earlier attempt was committed after all
                raise
            is_personal = exists().where(personal_teams.c.team_id == named_team.id)
            if not (await change.connection.execute(select(is_personal))).scalar():
                raise NotAllowed(_NOT_PERSONAL.format(team=team))
            grants = sum([await self._end_grants(change, person_id) for person_id in person_ids])
            await _delete_rows(change.connection, named_team.id)
            before = {"grants": grants}
            earlier_results.append(named_team)
            return named_team, change.entry("team.delete", named_team.name, before=before, team_id=named_team.id)

        return await self._administration.change(actor, operation)

    async def bound_people(self, team_id: str) -> list[str]:
        """Return the people who act for a personal team: the one whom it was made for, and those who joined it.

        The former is left out if they have joined another team.
        """
        joined_any = exists().where(person_teams.c.person == personal_teams.c.person)
        own = select(personal_teams.c.person).where(personal_teams.c.team_id == team_id, ~joined_any)
        guests = select(person_teams.c.person).where(person_teams.c.team_id == team_id)

        async def operation(connection: AsyncConnection) -> list[str]:
            return list((await connection.execute(union(own, guests))).scalars())

        return await self._database.run(operation)

    async def unused_personal(self, seconds: float) -> list[Team]:
        """Return the personal teams, made `seconds` ago or earlier, that have no credential and have bought nothing.

        Stopped teams are left out: their people would get new teams, which are not stopped.
        """
        has_credential = exists().where(
            team_credentials.c.team_id == teams.c.id, team_credentials.c.removed_at.is_(None)
        )
        has_bought = exists().where(ledger.c.team_id == teams.c.id)
        of_people = teams.join(personal_teams, personal_teams.c.team_id == teams.c.id)
        is_old = teams.c.created_at <= self._now() - seconds
        conditions = is_old, ~teams.c.is_stopped, ~has_credential, ~has_bought
        query = select(teams).select_from(of_people).where(*conditions).order_by(teams.c.name)

        async def operation(connection: AsyncConnection) -> list[Team]:
            return [team_of(row) for row in await connection.execute(query)]

        return await self._database.run(operation)

    async def _end_grants(self, change: Change, person_id: str | None, *, keeps_sessions: bool = False) -> int:
        """End the grants of a person, and return the number of grants. Sign the person out unless `keeps_sessions`."""
        if person_id is None:
            return 0
        ended = await revoke_all_of(change.connection, person_id, RevokeReason.MEMBER, change.actor, self._now)
        if not keeps_sessions:
            await sign_out(change.connection, person_id)
        return len(ended)


async def _is_personal_owner(connection: AsyncConnection, member: Member) -> bool:
    """Return whether the member is the person whom a personal team was made for."""
    return bool((await connection.execute(select(exists().where(personal_teams.c.member_id == member.id)))).scalar())


async def _revoke_keys(change: Change, team: Team, member: Member) -> int:
    """Revoke the keys of a member, each with an entry of the audit log, and return their number."""
    conditions = api_keys.c.member_id == member.id, api_keys.c.revoked_at.is_(None)
    statement = update(api_keys).where(*conditions).values(revoked_at=change.now).returning(api_keys.c.id)
    key_ids = list((await change.connection.execute(statement)).scalars())
    for key_id in key_ids:
        entry = change.entry(
            "key.revoke",
            f"{team.name}/{member.name}/{key_id}",
            before={"revoked_at": None},
            after={"revoked_at": change.now},
            team_id=team.id,
            member_id=member.id,
            key_id=key_id,
        )
        await change.connection.execute(audit.insert().values(audit_values(entry)))
    return len(key_ids)


def _former_name(name: str) -> str:
    return f"{name[: MAX_NAME_LENGTH - len(FORMER)].rstrip()}{FORMER}"


async def _delete_rows(connection: AsyncConnection, team_id: str) -> None:
    """Delete the rows of a team, first those that refer to other rows. The ledger and the audit log stay."""
    of_budgets = select(budgets.c.id).where(budgets.c.team_id == team_id)
    of_members = select(members.c.id).where(members.c.team_id == team_id)
    await connection.execute(delete(budget_windows).where(budget_windows.c.budget_id.in_(of_budgets)))
    await connection.execute(delete(api_keys).where(api_keys.c.member_id.in_(of_members)))
    for table in (*_OF_TEAM, members):
        await connection.execute(delete(table).where(table.c.team_id == team_id))
    await connection.execute(delete(teams).where(teams.c.id == team_id))
