"""`luma-mcp teams`: the groups that share tasks, credentials and budgets."""

from argparse import Namespace
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb, checked
from app.cli.admin.credentials import credential_document
from app.cli.admin.members import member_document
from app.cli.admin.output import counted, iso_time, table, time_text
from app.domain.teams import Team, valid_timezone


def add_commands(commands: Any) -> None:
    """Add `teams` and its verbs."""
    verbs = add_noun(commands, "teams", "Create, list and stop teams.")
    create = add_verb(verbs, "create", _create, "Create a team.", "NAME")
    create.add_argument(
        "--timezone",
        type=checked(valid_timezone),
        default="UTC",
        help="IANA name, such as Europe/Berlin, by which its days begin (%(default)s)",
    )
    add_verb(verbs, "list", _list, "List the teams.")
    add_verb(verbs, "show", _show, "Show a team with its members and credentials.", "NAME")
    add_verb(verbs, "stop", _stop, "Refuse all spending of a team; reads go on.", "NAME")
    add_verb(verbs, "resume", _resume, "Let a stopped team spend again.", "NAME")


def team_document(team: Team) -> dict[str, Any]:
    """Return a team for programs."""
    return {
        "id": team.id,
        "name": team.name,
        "timezone": team.timezone,
        "is_stopped": team.is_stopped,
        "allows_foreign_ids": team.allows_foreign_ids,
        "members_see_all": team.members_see_all,
        "created_at": iso_time(team.created_at),
    }


async def _create(admin: Administrator, chosen: Namespace) -> None:
    team = await admin.directory.teams.create(chosen.name, chosen.timezone, admin.actor)
    admin.output.show(team_document(team), [f"Created team {team.name}, time zone {team.timezone}."])


async def _list(admin: Administrator, _chosen: Namespace) -> None:
    teams = await admin.directory.teams.all()
    rows = [(team.name, team.timezone, _state(team), time_text(team.created_at)) for team in teams]
    admin.output.show([*map(team_document, teams)], table(("team", "time zone", "state", "created"), rows))


async def _show(admin: Administrator, chosen: Namespace) -> None:
    team = await admin.directory.teams.team(chosen.name)
    members = await admin.directory.teams.members(chosen.name)
    credentials = await admin.directory.credentials.of_team(team.id)
    document = team_document(team) | {
        "members": [member_document(team.name, member) for member in members],
        "credentials": [credential_document(team.name, credential) for credential in credentials],
    }
    lines = [
        f"Team {team.name} ({_state(team)}), time zone {team.timezone}, created {time_text(team.created_at)} UTC",
        f"Tasks that the team has not made: {'may be read' if team.allows_foreign_ids else 'are missing'}",
        f"Members see: {'all tasks of the team' if team.members_see_all else 'their own tasks'}",
        f"{counted(len(members), 'member')}, {counted(len(credentials), 'credential')}".capitalize(),
    ]
    admin.output.show(document, lines)


async def _stop(admin: Administrator, chosen: Namespace) -> None:
    team = await admin.directory.teams.stop(chosen.name, admin.actor)
    admin.output.show(team_document(team), [f"Stopped team {team.name}: it may read, and not spend."])


async def _resume(admin: Administrator, chosen: Namespace) -> None:
    team = await admin.directory.teams.stop(chosen.name, admin.actor, is_stopped=False)
    admin.output.show(team_document(team), [f"Team {team.name} may spend again."])


def _state(team: Team) -> str:
    return "stopped" if team.is_stopped else "active"
