"""`luma-mcp clients grants` and `clients end`: the apps that people have connected by sign-in."""

from argparse import Namespace
from typing import Any

from app.cli.admin.command import Administrator, add_verb
from app.cli.admin.output import NONE, count_text, table, time_text
from app.domain.sign_in import Grant
from app.domain.teams import written_scopes
from app.ports.directory import NotAllowed
from app.services.sign_in.grant_administration import ListedGrant
from app.services.teams.documents import iso_time_or_none, ordered

HEADINGS = ("grant", "person", "account", "client", "scopes", "created", "last used")


def add_grant_verbs(verbs: Any) -> None:
    """Add `grants` and `end` to the verbs of `clients`."""
    grants = add_verb(verbs, "grants", _list, "List the apps that people have connected.")
    grants.add_argument("--person", metavar="PERSON", help="id or account of one person (default: everybody)")
    end = add_verb(verbs, "end", _end, "End a grant, or all grants of a person.")
    end.add_argument("id", metavar="ID", nargs="?", help="the grant to end")
    end.add_argument("--person", metavar="ID", help="end all grants of this person, and sign their browsers out")


async def _list(admin: Administrator, args: Namespace) -> None:
    grants = await admin.grants.active(args.person)
    documents = [_document(listed.grant, listed.label) for listed in grants]
    admin.output.show(documents, table(HEADINGS, [*map(_row, grants)]))


async def _end(admin: Administrator, args: Namespace) -> None:
    if (args.id is None) is (args.person is None):
        raise NotAllowed("Name one grant, or one person with --person.")
    if args.id is not None:
        ended = [await admin.grants.end(args.id, admin.actor)]
    else:
        ended = await admin.grants.end_all(args.person, admin.actor)
    names = ", ".join(sorted({grant.client_name for grant in ended}))
    line = f"Ended {count_text(len(ended), 'grant')} ({names}). Tokens of such a grant are refused within five seconds."
    admin.output.show([_document(grant, None) for grant in ended], [line])


def _row(listed: ListedGrant) -> tuple[str, ...]:
    grant = listed.grant
    times = time_text(grant.created_at), time_text(grant.last_used_at)
    return grant.id, grant.person_id, listed.label or NONE, grant.client_name, written_scopes(grant.scopes), *times


def _document(grant: Grant, label: str | None) -> dict[str, Any]:
    account = {"account": label} if label is not None else {}
    return {
        "id": grant.id,
        "person": grant.person_id,
        **account,
        "client": grant.client_name,
        "client_id": grant.client_id,
        "scopes": ordered(grant.scopes),
        "created_at": iso_time_or_none(grant.created_at),
        "last_used_at": iso_time_or_none(grant.last_used_at),
    }
