"""`luma-mcp stdio`: serves MCP over standard input and output, for one person's local client."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import anyio
import uvicorn
from mcp.server.context import CallNext, HandlerResult
from mcp.server.stdio import stdio_server
from pydantic import SecretStr
from starlette.applications import Starlette

from app.adapters.auth.bearer_token import bearer_token
from app.adapters.sandbox.media import media_routes
from app.cli.standard_input import StandardInput
from app.composition.application import Assembly, assemble
from app.composition.backend import SANDBOX_MEDIA_PATH
from app.composition.mcp_server import build_mcp_server
from app.local_secret import with_local_secret
from app.mcp_server.server import McpServer
from app.mcp_server.tools.call_handler import Context
from app.mcp_server.tools.json_bytes import Json
from app.mcp_server.tools.narrowing import NOT_NARROWED, Narrowing
from app.observability.logging import configure_logging
from app.observability.tracing import export_spans
from app.ports.auth import Caller
from app.settings import Settings, SettingsError
from app.web.readiness import STOPPING

TOKEN_REFUSED = "LUMA_MCP_TOKEN is refused: set the token that you were given."  # noqa: S105 - a sentence

SANDBOX_TOKEN = "sandbox"  # noqa: S105 - the sandbox accepts any token

DRAIN_SECONDS = 60
"""Time for which requests may continue after a signal, as over HTTP."""


class StdioRequestContext:
    """The RequestContext of stdio. All requests have the same caller, whose token is in LUMA_MCP_TOKEN."""

    def __init__(self, caller: Caller) -> None:
        """Attribute every request to `caller`."""
        self._caller = caller
        self._numbers = itertools.count(1)

    def caller(self, _ctx: Context) -> Caller:
        """Return the caller of the process."""
        return self._caller

    def narrowing(self, _ctx: Context) -> Narrowing:
        """Return NOT_NARROWED: only a path or headers can leave tools out, and stdio has neither."""
        return NOT_NARROWED

    def client(self, ctx: Context) -> str:
        """Return the name that the client gave at initialization; "" if it gave none."""
        params = ctx.session.client_params
        return params.client_info.name if params is not None else ""

    def request_id(self, _ctx: Context) -> str:
        """Return a new id with the number of the request."""
        return f"stdio-{next(self._numbers)}"

    def slow_down(self, _ctx: Context) -> None:
        """Do nothing. To read more slowly protects other clients, and stdio has none."""

    def placeholder_for(self, _ctx: Context, value: Json) -> Any:
        """Return `value` decoded, because stdio has no middleware that replaces placeholders."""
        return json.loads(value)


class InFlightRequests:
    """A middleware that tracks the requests in flight, so that a stop can wait for them."""

    def __init__(self) -> None:
        """Start without requests."""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Pass the request on. Its asyncio task ends after its response is written."""
        if ctx.request_id is not None and (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await call_next(ctx)

    async def drain(self, seconds: float) -> None:
        """Wait until the requests in flight are answered, at most `seconds`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)


async def serve_stdio(settings: Settings) -> None:
    """Serve until standard input ends, or SIGTERM or SIGINT arrives.

    After a signal, calls that wait for tasks are answered with the latest known states. Raises SettingsError for a
    token that is missing, malformed, too long for an Authorization header or refused, and for other unusable settings.
    """
    # Nothing listens at the public URL, so callbacks would fail, and links to the sandbox's videos would be dead.
    # Purchases are kept in memory unless the settings name a database.
    database = {} if settings.database_url or settings.data_dir else {"database_url": SecretStr("sqlite:///:memory:")}
    settings = with_local_secret(settings.model_copy(update={"public_url": None, **database}))
    token = _token(settings)
    configure_logging(settings.log_level, settings.log_format)
    export_spans()
    async with _media_server(settings) as (base_url, media_app):
        assembly = assemble(settings, base_url=base_url)
        if assembly.sandbox is not None:
            media_app.routes.extend(media_routes(SANDBOX_MEDIA_PATH, assembly.sandbox.media_is_gone))
        caller = await assembly.authenticator.authenticate(token)
        if caller is None:
            raise SettingsError(TOKEN_REFUSED)
        mcp_server = build_mcp_server(settings, assembly, StdioRequestContext(caller))
        async with assembly.running():
            await _serve(mcp_server, assembly)


async def _serve(mcp_server: McpServer, assembly: Assembly) -> None:
    server, in_flight, stdin = mcp_server.server, InFlightRequests(), StandardInput()
    server.middleware += [in_flight, mcp_server.request_log]

    async def stop() -> None:
        mcp_server.subscriptions.close()
        assembly.waiter.close()
        await in_flight.drain(DRAIN_SECONDS)
        stdin.end()

    with _on_signal(stop):
        async with stdio_server(stdin=cast("anyio.AsyncFile[str]", stdin)) as (read, write):
            await server.run(read, write, server.create_initialization_options())


@contextmanager
def _on_signal(stop: Callable[[], Any]) -> Iterator[None]:
    """Run `stop` at the first signal of STOPPING, while entered. A second signal has its default effect."""
    loop, stopping = asyncio.get_running_loop(), list[asyncio.Task[None]]()

    def begin() -> None:
        remove()
        stopping.append(loop.create_task(stop()))

    def remove() -> None:
        for number in STOPPING:
            loop.remove_signal_handler(number)

    for number in STOPPING:
        loop.add_signal_handler(number, begin)
    try:
        yield
    finally:
        remove()
        for task in stopping:
            task.cancel()


class _MediaServer(uvicorn.Server):
    """A uvicorn server that installs no signal handlers, because the command handles signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _media_server(settings: Settings) -> AsyncIterator[tuple[str, Starlette]]:
    """Serve the sandbox's videos on a free loopback port while entered.

    Yield the server's URL and its application. The caller adds the routes, because building the sandbox needs the URL.
    With another backend nothing listens, and the URL is "".
    """
    app = Starlette()
    if settings.backend != "sandbox":
        yield "", app
        return
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, ws="none", lifespan="off")
    listening = socket.create_server(("127.0.0.1", 0))
    server = _MediaServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", app
    finally:
        server.should_exit = True
        await serving
        listening.close()


def _token(settings: Settings) -> str:
    configured = settings.token.get_secret_value() if settings.token is not None else ""
    if not configured and settings.backend == "sandbox":
        return SANDBOX_TOKEN
    token = bearer_token(f"Bearer {configured}")
    if token is None:
        raise SettingsError("LUMA_MCP_TOKEN must hold your AceDataCloud API token; stdio has no header to carry one.")
    return token
