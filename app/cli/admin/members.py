"""`luma-mcp members`: the people and programs of a team."""

from argparse import Namespace
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb, checked
from app.cli.admin.output import count_text, table, time_text
from app.domain.teams import parsed_lifetime, valid_note
from app.services.teams.documents import invitation_document, member_document, new_invitation_document
from app.services.teams.invitations import InvitationMaker


def add_commands(commands: Any) -> None:
    """Add `members` and its verbs."""
    verbs = add_noun(commands, "members", "Add, list, stop and remove the members of a team.")
    add_verb(verbs, "add", _add, "Add a member to a team.", "TEAM", "MEMBER")
    add_verb(verbs, "list", _list, "List the members of a team.", "TEAM")
    add_verb(verbs, "stop", _stop, "Refuse all spending of a member; reads go on.", "TEAM", "MEMBER")
    add_verb(verbs, "resume", _resume, "Let a stopped member spend again.", "TEAM", "MEMBER")
    add_verb(verbs, "remove", _remove, "Remove a member, with its keys and connected apps.", "TEAM", "MEMBER")
    invite = add_verb(verbs, "invite", _invite, "Make a link with which one person joins a team.", "TEAM")
    invite.add_argument(
        "--expires",
        type=checked(parsed_lifetime),
        default="7d",
        metavar="7d",
        help="how long the link can be used (default: %(default)s)",
    )
    invite.add_argument("--note", type=checked(valid_note), default="", help="whom it is for")
    add_verb(verbs, "invitations", _list_invitations, "List the open invitations of a team.", "TEAM")
    add_verb(verbs, "uninvite", _uninvite, "End an invitation that was not used.", "ID")


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


async def _remove(admin: Administrator, args: Namespace) -> None:
    departed = await admin.departures.remove(args.team, args.member, admin.actor)
    keys, grants = count_text(departed.keys, "key"), count_text(departed.grants, "connected app")
    lines = [
        f"Removed member {departed.member.name} from team {args.team}.",
        f"Ended {keys} and {grants}. They are refused within five seconds.",
        "What was spent stays in the team's usage, and the log stays. An invitation lets a person in again.",
    ]
    admin.output.show(member_document(args.team, departed.member), lines)


async def _invite(admin: Administrator, args: Namespace) -> None:
    maker = InvitationMaker(admin.directory.invitations, admin.secrets, admin.join_page)
    link, invitation = await maker.invite(args.team, admin.actor, args.expires, args.note)
    expires = time_text(invitation.expires_at)
    lines = [
        f"Made invitation {invitation.id} into team {invitation.team.name}, for one person and until {expires} UTC.",
        "Its link, which is shown this once:",
        link,
    ]
    admin.output.show(new_invitation_document(link, invitation), lines)


async def _list_invitations(admin: Administrator, args: Namespace) -> None:
    invitations = await admin.directory.invitations.of_team(args.team)
    rows = [
        (invitation.id, time_text(invitation.created_at), time_text(invitation.expires_at), invitation.note)
        for invitation in invitations
    ]
    lines = table(("invitation", "created", "expires", "note"), rows)
    admin.output.show([*map(invitation_document, invitations)], lines)


async def _uninvite(admin: Administrator, args: Namespace) -> None:
    invitation = await admin.directory.invitations.end(args.id, admin.actor)
    line = f"Ended invitation {invitation.id} into team {invitation.team.name}: nobody can join with it."
    admin.output.show(invitation_document(invitation), [line])
