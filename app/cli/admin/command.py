"""The parts of an administrative command: its arguments, and what its handler is given."""

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
from app.settings import DEFAULT_ENV_FILE

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Administrator:
    """What the handler of a command works with. `price` is that of one generation; None where it is not known."""

    directory: Directory
    budgets: Budgets
    limits: TeamLimits
    price: Money | None
    clients: Clients
    secrets: SecretMaker
    actor: Actor
    output: Output


Handler = Callable[[Administrator, Namespace], Awaitable[None]]


def add_noun(commands: Any, name: str, words: str) -> Any:
    """Add a command that takes a verb, and return what its verbs are added to."""
    noun = commands.add_parser(name, help=words, description=words)
    return noun.add_subparsers(required=True, metavar="command")


def add_verb(verbs: Any, name: str, handler: Handler, words: str, *arguments: str) -> ArgumentParser:
    """Add a command with positional `arguments`; `TEAM`, `MEMBER` and `NAME` are names."""
    verb: ArgumentParser = verbs.add_parser(name, help=words, description=words)
    for argument in arguments:
        check = str if argument == "ID" else checked(valid_name)
        verb.add_argument(argument.lower(), metavar=argument, type=check)
    verb.add_argument("--json", action="store_true", help="print one JSON document")
    verb.add_argument(
        "--env-file", metavar="FILE", default=DEFAULT_ENV_FILE, help="settings beside the environment (%(default)s)"
    )
    verb.set_defaults(run=partial(_run, handler))
    return verb


def checked(rule: Callable[[str], T]) -> Callable[[str], T]:
    """Return a rule of the domain as the type of an argument: its ValueError is a sentence."""

    def check(given: str) -> T:
        try:
            return rule(given)
        except ValueError as exc:
            raise ArgumentTypeError(str(exc)) from None

    return check


def _run(handler: Handler, chosen: Namespace) -> None:
    from app.cli.admin.opening import run  # noqa: PLC0415 - the other commands open no directory

    run(handler, chosen)
