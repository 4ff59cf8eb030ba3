"""The same tools over standard input and output, for one person's local client."""

import itertools
import json
from typing import Any

from mcp.server.stdio import stdio_server

from app.adapters.identity import bearer_token
from app.bootstrap import assemble, surface_of
from app.domain.principal import Principal
from app.mcp_server.door import Context
from app.mcp_server.encoding import Json
from app.observability.logs import configure_logging
from app.observability.tracing import export_spans
from app.settings import Settings, SettingsError

SANDBOX_TOKEN = "sandbox"  # noqa: S105 - the sandbox takes any


class SoleCaller:
    """The Caller where there is only one: whoever started the process."""

    def __init__(self, principal: Principal) -> None:
        """Speak for `principal`."""
        self._principal = principal
        self._numbers = itertools.count(1)

    def principal(self, _ctx: Context) -> Principal:
        """Return the one caller there is."""
        return self._principal

    def client(self, ctx: Context) -> str:
        """Return the client's name from the protocol, or ""."""
        params = ctx.session.client_params
        return params.client_info.name if params is not None else ""

    def request_id(self, _ctx: Context) -> str:
        """Return the number of this call in the life of the process."""
        return f"stdio-{next(self._numbers)}"

    def embed(self, _ctx: Context, value: Json) -> Any:
        """Return the value itself."""
        return json.loads(value)


async def serve_stdio(settings: Settings) -> None:
    """Serve until standard input ends. Raises SettingsError where the token is missing or malformed."""
    token = _token(settings)
    configure_logging(settings.log_level, settings.log_format)
    export_spans()
    assembly = assemble(settings, base_url="http://127.0.0.1:8000")
    surface = surface_of(settings, assembly, SoleCaller(assembly.tenants.principal(token)))
    server = surface.server
    server.middleware.append(surface.request_log)
    async with assembly.running(), stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _token(settings: Settings) -> str:
    given = settings.token.get_secret_value() if settings.token is not None else ""
    if not given and settings.backend == "sandbox":
        return SANDBOX_TOKEN
    token = bearer_token(f"Bearer {given}")
    if token is None:
        raise SettingsError("LUMA_MCP_TOKEN must hold your AceDataCloud API token; stdio has no header to carry one.")
    return token
