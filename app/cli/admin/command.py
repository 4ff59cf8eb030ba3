"""Adds administrative commands to the parser, and defines what their handlers receive."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from app.cli.admin.output import Output
from app.domain.money import Money
from app.domain.teams import Actor, valid_name
from app.ports.budgets import Budgets
from app.ports.directory import Directory
from app.ports.rate_limits import TeamLimits
from app.ports.sealing import SecretMaker
from app.ports.sign_in_store import Clients
from app.services.sign_in.grant_administration import GrantAdministration
from app.services.teams.departures import TeamDepartures
from app.settings import DEFAULT_ENV_FILE

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Administrator:
    """The services that the handler of a command uses, opened on the database.

    Attributes:
        price: the price of one generation; None if it is unknown.
        actor: the user who runs the command, for the audit log.
        join_page: the page where invitations are used; None if nobody can sign in to a team.

    """

    directory: Directory
    budgets: Budgets
    limits: TeamLimits
    price: Money | None
    clients: Clients
    grants: GrantAdministration
    departures: TeamDepartures
    secrets: SecretMaker
    actor: Actor
    output: Output
    join_page: str | None


Handler = Callable[[Administrator, Namespace], Awaitable[None]]


def add_noun(commands: Any, name: str, help_text: str) -> Any:
    """Add a command with subcommands (verbs), and return the argparse object to which they are added."""
    noun = commands.add_parser(name, help=help_text, description=help_text)
    return noun.add_subparsers(required=True, metavar="command")


def add_verb(verbs: Any, name: str, handler: Handler, help_text: str, *arguments: str) -> ArgumentParser:
    """Add a command with positional `arguments`, such as TEAM. All but ID must be valid names."""
    verb: ArgumentParser = verbs.add_parser(name, help=help_text, description=help_text)
    for argument in arguments:
        check = str if argument == "ID" else checked(valid_name)
        verb.add_argument(argument.lower(), metavar=argument, type=check)
    verb.add_argument("--json", action="store_true", help="print one JSON document")
    verb.add_argument(
        "--env-file",
        metavar="FILE",
        default=DEFAULT_ENV_FILE,
        help="file with settings, over which the environment has precedence (default: %(default)s)",
    )
    verb.set_defaults(run=partial(_run, handler))
    return verb


def checked(rule: Callable[[str], T]) -> Callable[[str], T]:
    """Return `rule`, a function of the domain, as an argparse type. The message of its ValueError is printed."""

    def check(text: str) -> T:
        try:
            return rule(text)
        except ValueError as exc:
            raise ArgumentTypeError(str(exc)) from None

    return check


def _run(handler: Handler, args: Namespace) -> None:
    from app.cli.admin.opening import run  # noqa: PLC0415 - the other commands need none of it

    run(handler, args)
