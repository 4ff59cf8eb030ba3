"""`luma-mcp clients`: OAuth clients for sign-in that an operator registers."""

import secrets
from argparse import Namespace
from dataclasses import replace
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb, checked
from app.cli.admin.grants import add_grant_verbs
from app.cli.admin.output import table
from app.domain.redirects import check_redirect
from app.domain.sign_in import ClientAuth, OAuthClient, Registration
from app.ports.directory import NotThere


def add_commands(commands: Any) -> None:
    """Add `clients` and its verbs."""
    verbs = add_noun(commands, "clients", "Register OAuth clients by hand, list and remove them.")
    create = add_verb(verbs, "create", _create, "Register a client for sign-in.", "NAME")
    create.add_argument(
        "--redirect",
        metavar="URI",
        type=checked(_redirect),
        action="append",
        required=True,
        help="where the client is answered; may be given several times",
    )
    create.add_argument("--secret", action="store_true", help="make a secret, which is shown once")
    add_verb(verbs, "list", _list, "List the clients that were registered by hand.")
    add_verb(verbs, "remove", _remove, "Remove a client: it gets no further token.", "ID")
    add_grant_verbs(verbs)


def _redirect(uri: str) -> str:
    try:
        return check_redirect(uri)
    except ValueError as exc:
        raise ValueError(f"A redirect URI {exc}.") from None


def _document(client: OAuthClient) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.name,
        "redirect_uris": client.redirect_uris,
        "token_endpoint_auth_method": client.auth,
    }


async def _create(admin: Administrator, args: Namespace) -> None:
    client_id = f"lmc_{secrets.token_urlsafe(16)}"
    client = OAuthClient(client_id, args.name, tuple(args.redirect), Registration.MANUAL)
    secret_field, lines = {}, [f"Registered client {client.name}. Its client id is {client.id}"]
    if args.secret:
        secret, digest = await admin.secrets.new_client_secret()
        client = replace(client, auth=ClientAuth.SECRET, secret_digest=digest)
        secret_field, lines = {"client_secret": secret}, [*lines, f"Its secret, which is shown this once: {secret}"]
    await admin.clients.register(client, None)
    admin.output.show(_document(client) | secret_field, lines)


async def _list(admin: Administrator, _args: Namespace) -> None:
    clients = await admin.clients.of_operator()
    rows = [(client.id, client.name, client.auth.value, " ".join(client.redirect_uris)) for client in clients]
    lines = table(("client id", "name", "authentication", "redirect URIs"), rows)
    admin.output.show([_document(client) for client in clients], lines)


async def _remove(admin: Administrator, args: Namespace) -> None:
    if not await admin.clients.remove(args.id):
        raise NotThere(f"No client with the id {args.id} was registered by hand. Look at the list of clients.")
    line = f"Removed client {args.id}. It gets no further token; those that it has end within a day."
    admin.output.show({"id": args.id}, [line])
