"""`luma-mcp credentials`: the backend credentials of a team. They are read from standard input and never shown."""

import getpass
import sys
from argparse import Namespace
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb
from app.cli.admin.output import table, time_text
from app.domain.team_input import MAX_SECRET_LENGTH, is_credential
from app.ports.directory import NotAllowed
from app.services.teams.documents import credential_document

BACKENDS = ("acedata", "sandbox")


def add_commands(commands: Any) -> None:
    """Add `credentials` and its verbs."""
    verbs = add_noun(commands, "credentials", "Add, list and remove the credentials of a team.")
    add = add_verb(verbs, "add", _add, "Put in a credential, read from standard input.", "TEAM")
    add.add_argument("--backend", required=True, choices=BACKENDS, help="the backend that the credential is for")
    add_verb(verbs, "list", _list, "List the credentials in use; their secrets are not shown.", "TEAM")
    add_verb(verbs, "remove", _remove, "Take a credential out of use and erase its secret.", "TEAM", "ID")


async def _add(admin: Administrator, args: Namespace) -> None:
    team = await admin.directory.teams.team(args.team)
    sealed = await admin.secrets.sealed(team, args.backend, _read_secret())
    credential = await admin.directory.credentials.add(sealed, admin.actor)
    line = f"Team {team.name} has the credential {credential.id} ({credential.hint}) for {credential.backend}."
    admin.output.show(credential_document(team.name, credential), [line])


async def _list(admin: Administrator, args: Namespace) -> None:
    team = await admin.directory.teams.team(args.team)
    credentials = await admin.directory.credentials.of_team(team.id)
    rows = [
        (credential.id, credential.backend, credential.hint, time_text(credential.created_at))
        for credential in credentials
    ]
    documents = [credential_document(team.name, credential) for credential in credentials]
    admin.output.show(documents, table(("credential", "backend", "secret", "added"), rows))


async def _remove(admin: Administrator, args: Namespace) -> None:
    credential = await admin.directory.credentials.remove(args.team, args.id, admin.actor)
    line = f"Removed credential {credential.id} of team {args.team}. Its secret is erased; revoke it at its issuer too."
    admin.output.show(credential_document(args.team, credential), [line])


def _read_secret() -> str:
    """Return the secret on standard input; a terminal does not echo it. Raises NotAllowed if it is malformed."""
    text = getpass.getpass("Credential: ") if sys.stdin.isatty() else _read()
    secret = text.strip()
    if not is_credential(secret):
        raise NotAllowed(
            f"Standard input must hold the credential alone: 1 to {MAX_SECRET_LENGTH} ASCII characters without blanks."
        )
    return secret


def _read() -> str:
    return sys.stdin.buffer.read(2 * MAX_SECRET_LENGTH).decode(errors="replace")
