"""`luma-mcp keys`: the team keys of members. A new key is shown once."""

from argparse import Namespace
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb, checked
from app.cli.admin.output import NONE, table, time_text
from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.teams import KeyHolder, parsed_duration, parsed_lifetime, parsed_scopes, valid_note, written_scopes
from app.services.teams.documents import key_document, new_key_document

HEADINGS = ("key", "member", "hint", "scopes", "state", "created", "expires", "last used", "note")


def add_commands(commands: Any) -> None:
    """Add `keys` and its verbs."""
    verbs = add_noun(commands, "keys", "Create, list, rotate and revoke the keys of members.")
    create = add_verb(verbs, "create", _create, "Create a key of a member, and show it once.", "TEAM", "MEMBER")
    create.add_argument(
        "--scope",
        type=checked(parsed_scopes),
        default=PASSTHROUGH_SCOPES,
        metavar="SCOPES",
        help=f"read, generate and admin, separated by commas (default: {written_scopes(PASSTHROUGH_SCOPES)})",
    )
    create.add_argument(
        "--expires", type=checked(parsed_lifetime), metavar="30d", help="how long the key works (default: for ever)"
    )
    create.add_argument("--note", type=checked(valid_note), default="", help="what the key is for")
    add_verb(verbs, "list", _list, "List the keys of a team.", "TEAM")
    add_verb(verbs, "revoke", _revoke, "Refuse a key for good.", "ID")
    add_verb(verbs, "block", _block, "Refuse a key until it is unblocked.", "ID")
    add_verb(verbs, "unblock", _unblock, "Let a blocked key work again.", "ID")
    add_verb(verbs, "stop", _stop, "Refuse all spending with a key; reads go on.", "ID")
    add_verb(verbs, "resume", _resume, "Let a stopped key spend again.", "ID")
    rotate = add_verb(
        verbs, "rotate", _rotate, "Replace a key by a new one. The old key remains valid for a while.", "ID"
    )
    rotate.add_argument(
        "--grace",
        type=checked(parsed_duration),
        default="24h",
        metavar="24h",
        help="how long the old key remains valid; 0 ends it at once (default: %(default)s)",
    )


async def _create(admin: Administrator, args: Namespace) -> None:
    key, new = await admin.secrets.new_key()
    holder = await admin.directory.keys.create(
        args.team,
        args.member,
        new,
        admin.actor,
        scopes=args.scope,
        expires_seconds=args.expires,
        note=args.note,
    )
    _show_once(admin, key, holder, [])


async def _list(admin: Administrator, args: Namespace) -> None:
    holders = await admin.directory.keys.of_team(args.team)
    admin.output.show([*map(key_document, holders)], table(HEADINGS, [*map(_row, holders)]))


async def _revoke(admin: Administrator, args: Namespace) -> None:
    holder = await admin.directory.keys.revoke(args.id, admin.actor)
    admin.output.show(key_document(holder), [f"Revoked {_key_text(holder)}, for good."])


async def _block(admin: Administrator, args: Namespace) -> None:
    holder = await admin.directory.keys.block(args.id, admin.actor)
    admin.output.show(key_document(holder), [f"Blocked {_key_text(holder)}. `luma-mcp keys unblock` undoes that."])


async def _unblock(admin: Administrator, args: Namespace) -> None:
    holder = await admin.directory.keys.block(args.id, admin.actor, is_blocked=False)
    admin.output.show(key_document(holder), [f"Unblocked {_key_text(holder)}."])


async def _stop(admin: Administrator, args: Namespace) -> None:
    holder = await admin.directory.keys.stop(args.id, admin.actor)
    admin.output.show(key_document(holder), [f"Stopped {_key_text(holder)}: it may read, and not spend."])


async def _resume(admin: Administrator, args: Namespace) -> None:
    holder = await admin.directory.keys.stop(args.id, admin.actor, is_stopped=False)
    more = " Its member or its team is still stopped." if holder.is_stopped else ""
    admin.output.show(key_document(holder), [f"Resumed {_key_text(holder)}.{more}"])


async def _rotate(admin: Administrator, args: Namespace) -> None:
    key, new = await admin.secrets.new_key()
    holder = await admin.directory.keys.rotate(args.id, new, args.grace, admin.actor)
    ends_at = (await admin.directory.keys.holder(args.id)).key.expires_at
    _show_once(admin, key, holder, [f"The old key {args.id} works until {time_text(ends_at)} UTC."])


def _show_once(admin: Administrator, key: str, holder: KeyHolder, more_lines: list[str]) -> None:
    expires = "does not expire" if holder.key.expires_at is None else f"expires {time_text(holder.key.expires_at)} UTC"
    lines = [
        f"Created {_key_text(holder)}: {written_scopes(holder.key.scopes)}, {expires}.",
        *more_lines,
        "It is shown this once:",
        key,
    ]
    admin.output.show(new_key_document(key, holder), lines)


def _row(holder: KeyHolder) -> tuple[str, ...]:
    key = holder.key
    return (
        key.id,
        holder.member.name,
        key.hint,
        written_scopes(key.scopes),
        f"{key.state(holder.read_at)}{', spending stopped' if holder.is_stopped else ''}",
        time_text(key.created_at),
        time_text(key.expires_at),
        time_text(key.last_used_at),
        key.note or NONE,
    )


def _key_text(holder: KeyHolder) -> str:
    return f"key {holder.key.id} of {holder.member.name} in team {holder.team.name}"
