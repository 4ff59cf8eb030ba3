"""`luma-mcp members`: the people and programs of a team."""

from argparse import Namespace
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb
from app.cli.admin.output import table, time_text
from app.services.teams.documents import member_document


def add_commands(commands: Any) -> None:
    """Add `members` and its verbs."""
    verbs = add_noun(commands, "members", "Add, list and stop the members of a team.")
    add_verb(verbs, "add", _add, "Add a member to a team.", "TEAM", "MEMBER")
    add_verb(verbs, "list", _list, "List the members of a team.", "TEAM")
    add_verb(verbs, "stop", _stop, "Refuse all spending of a member; reads go on.", "TEAM", "MEMBER")
    add_verb(verbs, "resume", _resume, "Let a stopped member spend again.", "TEAM", "MEMBER")


async def _add(admin: Administrator, args: Namespace) -> None:
    member = await admin.directory.teams.add_member(args.team, args.member, admin.actor)
    admin.output.show(member_document(args.team, member), [f"Added member {member.name} to team {args.team}."])


async def _list(admin: Administrator, args: Namespace) -> None:
    members = await admin.directory.teams.members(args.team)
    rows = [
        (member.name, "stopped" if member.is_stopped else "active", time_text(member.created_at)) for member in members
    ]
    documents = [member_document(args.team, member) for member in members]
    admin.output.show(documents, table(("member", "state", "created"), rows))


async def _stop(admin: Administrator, args: Namespace) -> None:
    member = await admin.directory.teams.stop_member(args.team, args.member, admin.actor)
    line = f"Stopped member {member.name} of team {args.team}: it may read, and not spend."
    admin.output.show(member_document(args.team, member), [line])


async def _resume(admin: Administrator, args: Namespace) -> None:
    member = await admin.directory.teams.stop_member(args.team, args.member, admin.actor, is_stopped=False)
    line = f"Member {member.name} of team {args.team} may spend again."
    admin.output.show(member_document(args.team, member), [line])
