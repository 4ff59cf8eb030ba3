"""The command line `luma-mcp`: its parser, and the functions that run its commands.

The modules of commands are imported when the command runs, because some take long to load.
"""

import asyncio
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.cli.admin import audit, budgets, clients, credentials, keys, limits, members, teams, usage
from app.observability.metrics_folder import MULTIPROCESS_VARIABLE
from app.settings import DEFAULT_ENV_FILE, Settings, SettingsError, load_settings, require_key

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 plus the number of SIGINT, as shells report it."""

ENV_FILE_HELP = "file with settings, which environment variables override (default: %(default)s)"
DESCRIPTION = "An MCP server for Luma Dream Machine videos through AceDataCloud."


def main() -> None:
    """Run the command in the arguments. A SettingsError is printed, and the exit status is 2."""
    args = command_parser().parse_args()
    try:
        _prepare_metrics_folder(args)
        args.run(args)
    except SettingsError as exc:
        print(f"luma-mcp: {exc}", file=sys.stderr)  # noqa: T201 - logging may not be configured yet
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def command_parser() -> ArgumentParser:
    """Return the parser of every command."""
    parser = ArgumentParser(prog="luma-mcp", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"luma-mcp {version('luma-mcp')}")
    commands = parser.add_subparsers(required=True, metavar="command")
    serve = _command(commands, "serve", _serve, "Serve MCP over HTTP.")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument(
        "--port",
        type=_between(0, 65535),
        default=8000,
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    serve.add_argument(
        "--workers", type=_between(1, 1024), default=1, help="processes that share the port (default: %(default)s)"
    )
    stdio = _command(
        commands, "stdio", _stdio, "Serve MCP over standard input and output, with the token in LUMA_MCP_TOKEN."
    )
    for command in (serve, stdio):
        command.add_argument(
            "--sandbox",
            action="store_true",
            help="use the built-in sandbox as the backend, for this machine only: no account, network, Redis or public "
            "URL",
        )
    check = _command(
        commands, "check", _check, "Show each setting and its source, and test the services that the settings name."
    )
    for command in (serve, check):
        command.add_argument("--env-file", metavar="FILE", default=DEFAULT_ENV_FILE, help=ENV_FILE_HELP)
    stdio.add_argument(
        "--env-file", metavar="FILE", help="file with settings, which environment variables override (default: none)"
    )
    database = _command(commands, "database", _database, "Migrate the database of purchases.")
    database.add_argument("action", choices=["upgrade"], help="upgrade: bring the schema to this release's version")
    database.add_argument("--env-file", metavar="FILE", default=DEFAULT_ENV_FILE, help=ENV_FILE_HELP)
    for noun in (teams, credentials, members, keys, budgets, limits, usage, clients, audit):
        noun.add_commands(commands)
    _command(commands, "describe", _describe, "Print the tools and the settings as Markdown tables.")
    return parser


def _command(commands: Any, name: str, run: Callable[[Namespace], None], help_text: str) -> ArgumentParser:
    command: ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def _prepare_metrics_folder(args: Namespace) -> None:
    """Leave PROMETHEUS_MULTIPROC_DIR set only for `serve`, because every other command would write a file there.

    Call it before prometheus_client is imported, because that import reads the variable. An empty value counts as
    unset, as in settings. Raises SettingsError, for `serve` and `check`, if the value is not a folder that this process
    may write to.
    """
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    if folder and args.run in (_serve, _check) and not (Path(folder).is_dir() and os.access(folder, os.W_OK)):
        raise SettingsError(
            f"{MULTIPROCESS_VARIABLE} names no folder that this process may write to: create it, or unset the "
            "variable, and the service creates a folder."
        )
    if not folder or args.run is not _serve:
        os.environ.pop(MULTIPROCESS_VARIABLE, None)


def _between(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers from `minimum` to `maximum`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) <= maximum:
            raise ArgumentTypeError(f"must be a whole number from {minimum} to {maximum}")
        return int(text)

    return number


def _serve(args: Namespace) -> None:
    from app.cli.serve import serve_processes  # noqa: PLC0415 - the other commands need no web server

    serve_processes(_settings(args), host=args.host, port=args.port, workers=args.workers, env_file=args.env_file)


def _stdio(args: Namespace) -> None:
    from app.cli.stdio import serve_stdio  # noqa: PLC0415 - the other commands need no stdio

    asyncio.run(serve_stdio(_settings(args)))


def _check(args: Namespace) -> None:
    from app.cli.check import check_everything  # noqa: PLC0415 - the other commands need none of it

    settings = load_settings(args.env_file)
    sys.exit(0 if asyncio.run(check_everything(settings, print, env_file=args.env_file)) else 1)


def _database(args: Namespace) -> None:
    from app.persistence import upgrade  # noqa: PLC0415 - the other commands need none of it

    asyncio.run(upgrade(load_settings(args.env_file), print))


def _describe(_args: Namespace) -> None:
    from app.cli.describe import settings_table, tools_table  # noqa: PLC0415 - the other commands need none of it

    print(f"{tools_table()}\n\n{settings_table()}")  # noqa: T201 - the output of the command


def _settings(args: Namespace) -> Settings:
    settings = load_settings(args.env_file)
    if args.sandbox:
        # The settings may be those of a team's service. The sandbox must not use its Redis or its database, nor put
        # its public URL into links to videos.
        sandbox_settings = {
            "backend": "sandbox",
            "redis_url": None,
            "public_url": None,
            "database_url": None,
            "data_dir": None,
            "auth": ("passthrough",),
            "sign_in": "off",
            "admin": "off",
        }
        settings = settings.model_copy(update=sandbox_settings)
    require_key(settings, 1)
    return settings
