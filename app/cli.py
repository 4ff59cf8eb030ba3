"""The command line: serve · stdio · check · describe."""

import asyncio
import sys
from typing import Annotated, NoReturn

import typer

from app.settings import Settings, SettingsError, load_settings, require_key

cli = typer.Typer(
    add_completion=False, no_args_is_help=True, help="An MCP server for Luma Dream Machine videos through AceDataCloud."
)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
PortNumber = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that share the port.")]
Sandbox = Annotated[bool, typer.Option("--sandbox", help="Use the built-in backend: no account, no network, no Redis.")]


def main() -> None:
    """Run the command line; a setting that cannot be used ends it with a sentence and status 2."""
    try:
        cli()
    except SettingsError as fault:
        typer.echo(f"luma-mcp: {fault}", err=True)
        sys.exit(2)


@cli.command()
def serve(host: Host = "127.0.0.1", port: PortNumber = 8000, workers: Workers = 1, sandbox: Sandbox = False) -> None:
    """Serve MCP over HTTP."""
    from app.serving import serve_processes  # noqa: PLC0415 - the other commands need no web server

    serve_processes(_settings(sandbox=sandbox), host=host, port=port, workers=workers)


@cli.command()
def stdio(sandbox: Sandbox = False) -> None:
    """Serve MCP over standard input and output, with the token in LUMA_MCP_TOKEN."""
    from app.stdio import serve_stdio  # noqa: PLC0415 - the other commands need no stdio

    asyncio.run(serve_stdio(_settings(sandbox=sandbox)))


@cli.command()
def check() -> NoReturn:
    """Show each setting and where it came from, and ask what it names whether it answers."""
    from app.checking import check_everything  # noqa: PLC0415 - the other commands check nothing

    sys.exit(0 if asyncio.run(check_everything(load_settings(), typer.echo)) else 1)


@cli.command()
def describe() -> None:
    """Print the tools and the settings as the README shows them."""
    from app.describing import settings_table, tools_table  # noqa: PLC0415 - the other commands print no tables

    typer.echo(f"{tools_table()}\n\n{settings_table()}")


def _settings(*, sandbox: bool) -> Settings:
    settings = load_settings()
    if sandbox:
        settings = settings.model_copy(update={"backend": "sandbox", "redis_url": None})
    require_key(settings, 1)
    return settings
