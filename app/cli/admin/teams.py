"""`luma-mcp teams`: teams, whose members share tasks, credentials and budgets."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb, checked
from app.cli.admin.output import count_text, table, time_text
from app.domain.money import amount_text
from app.domain.team_input import parsed_threshold
from app.domain.teams import Team, parsed_duration, valid_name, valid_timezone
from app.services.teams.documents import full_team_document, team_document


def add_commands(commands: Any) -> None:
    """Add `teams` and its verbs."""
    verbs = add_noun(commands, "teams", "Create, list, change, stop and delete teams.")
    create = add_verb(verbs, "create", _create, "Create a team.", "NAME")
    _add_timezone(create, "default: %(default)s").set_defaults(timezone="UTC")
    add_verb(verbs, "list", _list, "List the teams.")
    add_verb(verbs, "show", _show, "Show a team, and how many members and credentials it has.", "NAME")
    change = add_verb(verbs, "set", _set, "Change the settings that are given as options, and no others.", "NAME")
    _add_timezone(change, "default: unchanged; budgets follow the new time zone at once")
    change.add_argument(
        "--foreign-ids", choices=("allow", "refuse"), help="whether members may read tasks that the team has not made"
    )
    change.add_argument("--members-see", choices=("all", "own"), help="the tasks of the whole team, or their own")
    change.add_argument(
        "--asks-above",
        type=checked(parsed_threshold),
        metavar="5|never",
        help="ask the user before a generation that costs more, in the backend's unit",
    )
    change.set_defaults(run=partial(_run_unless_empty, change, change.get_default("run")))
    add_verb(verbs, "stop", _stop, "Refuse all spending of a team; reads go on.", "NAME")
    add_verb(verbs, "resume", _resume, "Let a stopped team spend again.", "NAME")
    remove = add_verb(verbs, "delete", _delete, "Delete a personal team, or all personal teams that nobody uses.")
    remove.add_argument("name", metavar="NAME", nargs="?", type=checked(valid_name), help="the personal team to delete")
    remove.add_argument(
        "--unused",
        type=checked(parsed_duration),
        metavar="30d",
        help="delete the personal teams of this age that have no credential and have bought nothing",
    )
    remove.set_defaults(run=partial(_run_with_name_or_unused, remove, remove.get_default("run")))


async def _create(admin: Administrator, args: Namespace) -> None:
    team = await admin.directory.teams.create(args.name, args.timezone, admin.actor)
    admin.output.show(team_document(team), [f"Created team {team.name}, time zone {team.timezone}."])


async def _list(admin: Administrator, _args: Namespace) -> None:
    teams = await admin.directory.teams.all()
    rows = [(team.name, team.timezone, _state(team), time_text(team.created_at)) for team in teams]
    admin.output.show([*map(team_document, teams)], table(("team", "time zone", "state", "created"), rows))


async def _show(admin: Administrator, args: Namespace) -> None:
    team = await admin.directory.teams.team(args.name)
    members = await admin.directory.teams.members(args.name)
    credentials = await admin.directory.credentials.of_team(team.id)
    counts = f"{count_text(len(members), 'member')}, {count_text(len(credentials), 'credential')}".capitalize()
    admin.output.show(full_team_document(team, members, credentials), [*_description_lines(team), counts])


async def _set(admin: Administrator, args: Namespace) -> None:
    team = await admin.directory.teams.change(
        args.name,
        admin.actor,
        timezone=args.timezone,
        allows_foreign_ids=None if args.foreign_ids is None else args.foreign_ids == "allow",
        members_see_all=None if args.members_see is None else args.members_see == "all",
        asks_above=args.asks_above,
    )
    admin.output.show(team_document(team), _description_lines(team))


async def _stop(admin: Administrator, args: Namespace) -> None:
    team = await admin.directory.teams.stop(args.name, admin.actor)
    admin.output.show(team_document(team), [f"Stopped team {team.name}: it may read, and not spend."])


async def _resume(admin: Administrator, args: Namespace) -> None:
    team = await admin.directory.teams.stop(args.name, admin.actor, is_stopped=False)
    admin.output.show(team_document(team), [f"Team {team.name} may spend again."])


async def _delete(admin: Administrator, args: Namespace) -> None:
    if args.name is not None:
        deleted = [await admin.departures.delete_personal(args.name, admin.actor)]
    else:
        deleted = await admin.departures.delete_unused(args.unused, admin.actor)
    line = f"Deleted {count_text(len(deleted), 'personal team')}, with members, keys, credentials and budgets."
    note = "Records of spending and the audit log stay in the database. A person gets a new team at the next sign-in."
    admin.output.show([*map(team_document, deleted)], [line, *(f"  {team.name}" for team in deleted), note])


def _description_lines(team: Team) -> list[str]:
    price = team.asks_above
    return [
        f"Team {team.name} ({_state(team)}), time zone {team.timezone}, created {time_text(team.created_at)} UTC",
        f"Tasks that the team has not made: {'may be read' if team.allows_foreign_ids else 'are missing'}",
        f"Members see: {'all tasks of the team' if team.members_see_all else 'their own tasks'}",
        f"Generations are confirmed: {'never' if price is None else f'above {amount_text(price)}'}",
    ]


def _add_timezone(verb: ArgumentParser, default_text: str) -> ArgumentParser:
    help_text = f"IANA name, such as Europe/Berlin, by which the days of the team begin ({default_text})"
    verb.add_argument("--timezone", type=checked(valid_timezone), help=help_text)
    return verb


def _run_unless_empty(verb: ArgumentParser, run: Callable[[Namespace], None], args: Namespace) -> None:
    values = (args.timezone, args.foreign_ids, args.members_see, args.asks_above)
    if all(value is None for value in values):
        verb.error("name what to change: --timezone, --foreign-ids, --members-see or --asks-above")
    run(args)


def _run_with_name_or_unused(verb: ArgumentParser, run: Callable[[Namespace], None], args: Namespace) -> None:
    if (args.name is None) is (args.unused is None):
        verb.error("name one personal team, or delete those that nobody uses with --unused 30d")
    run(args)


def _state(team: Team) -> str:
    return "stopped" if team.is_stopped else "active"
