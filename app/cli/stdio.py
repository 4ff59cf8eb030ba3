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

from app.adapters.auth.bearer_token import MAX_HEADER_LENGTH, bearer_token, is_oversized
from app.adapters.sandbox.media import media_routes
from app.cli.standard_input import StandardInput
from app.composition.application import Assembly, assemble
from app.composition.backend import SANDBOX_MEDIA_PATH
from app.composition.mcp_server import build_mcp_server
from app.local_secret import with_local_secret
from app.mcp_server.server import McpServer
from app.mcp_server.tools.call_handler import Context
from app.mcp_server.tools.json_bytes import Json
from app.mcp_server.tools.tool_filter import ALL_TOOLS, ToolFilter
from app.observability.logging import configure_logging
from app.observability.tracing import export_spans
from app.ports.auth import Caller
from app.settings import Settings, SettingsError
from app.web.readiness import STOP_SIGNALS

TOKEN_REFUSED = "The token in LUMA_MCP_TOKEN is not valid under LUMA_MCP_AUTH. Set a valid API token."  # noqa: S105

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

    def tool_filter(self, _ctx: Context) -> ToolFilter:
        """Return ALL_TOOLS: only a path or headers can leave tools out, and stdio has neither."""
        return ALL_TOOLS

    def client(self, ctx: Context) -> str:
        """Return the name that the client gave at initialization; "" if it gave none."""
        params = ctx.session.client_params
        return params.client_info.name if params is not None else ""

    def request_id(self, _ctx: Context) -> str:
        """Return a new id with the number of the request."""
        return f"stdio-{next(self._numbers)}"

    async def hold_back_refusal(self, _ctx: Context) -> None:
        """Do nothing: there are no other clients to protect."""

    def placeholder_for(self, _ctx: Context, value: Json) -> Any:
        """Return `value` decoded, because stdio has no middleware that replaces placeholders."""
        return json.loads(value)


class InFlightRequests:
    """A middleware that tracks the requests in flight, so that a stop can wait for them."""

    def __init__(self) -> None:
        """Start without requests."""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Pass the request on.

        Its asyncio task ends after its response is written, so waiting for the task waits for the response.
        """
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
    token in LUMA_MCP_TOKEN that is missing, malformed, too long for an Authorization header or refused, and for other
    unusable settings.
    """
    # Nothing listens at the public URL, so callbacks would fail, and links to the sandbox's videos would be dead.
    # Purchases are kept in memory unless LUMA_MCP_DATABASE_URL or LUMA_MCP_DATA_DIR is set.
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
    """Run `stop` at the first signal of STOP_SIGNALS, while entered. A second signal has its default effect."""
    loop, stop_tasks = asyncio.get_running_loop(), list[asyncio.Task[None]]()

    def on_first_signal() -> None:
        remove_handlers()
        stop_tasks.append(loop.create_task(stop()))

    def remove_handlers() -> None:
        for signum in STOP_SIGNALS:
            loop.remove_signal_handler(signum)

    for signum in STOP_SIGNALS:
        loop.add_signal_handler(signum, on_first_signal)
    try:
        yield
    finally:
        remove_handlers()
        for task in stop_tasks:
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
    listener = socket.create_server(("127.0.0.1", 0))
    server = _MediaServer(config)
    server_task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", app
    finally:
        server.should_exit = True
        await server_task
        listener.close()


def _token(settings: Settings) -> str:
    configured = settings.token.get_secret_value() if settings.token is not None else ""
    if not configured and settings.backend == "sandbox":
        return SANDBOX_TOKEN
    if not configured:
        raise SettingsError("LUMA_MCP_TOKEN is not set. Set it to your AceDataCloud API token.")
    authorization = f"Bearer {configured}"
    if is_oversized(authorization):
        raise SettingsError(
            f"The token in LUMA_MCP_TOKEN is too long: an Authorization header has at most {MAX_HEADER_LENGTH} "
            "characters. Set a valid API token."
        )
    token = bearer_token(authorization)
    if token is None:
        raise SettingsError(
            "The token in LUMA_MCP_TOKEN is malformed: only letters, digits and -._~+/ are allowed, then = at the end. "
            "Set a valid API token, without quotes, spaces or the word Bearer."
        )
    return token
