"""The whole application on a loopback port in the test's event loop, with a fake backend and a manual clock."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import uvicorn
from jsonschema import Draft202012Validator
from starlette.types import ASGIApp

from app.adapters.acedata.client import Timeouts
from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.behaviour import Behaviour
from app.adapters.sandbox.engine import Sandbox
from app.cli.serve import listening_socket
from app.composition.application import Assembly, assemble
from app.mcp_server.tools.catalog import build_catalog
from app.ports.auth import Authenticator
from app.ports.backend import VideoBackend
from app.settings import Settings
from app.web.app import create_app
from app.web.connection.protocol import DisconnectAwareProtocol
from tests.support.clock import HandClock

MODERN = "2026-07-28"
LEGACY = ("2025-03-26", "2025-06-18", "2025-11-25")
ERAS = (*LEGACY, MODERN)
"""The MCP protocol revisions that the service speaks. `era` is one of them wherever it is a parameter."""

KEY = "a key for tests that is long enough: 48 bytes or so"
IN_MEMORY = "sqlite:///:memory:"
SECONDS = 8.0
"""How long a generation of the sandbox takes by default, by the test's clock."""

IMPATIENT = Timeouts(
    connect=1.0, pool=1.0, read=1.0, read_deadline=3.0, submit=1.0, first_retry_delay=0.001, longest_retry_delay=0.01
)
FREE = Behaviour(max_in_flight=None, reads_per_second=None)
"""A sandbox without limits on generations in flight and on reads."""


def settings(**values: Any) -> Settings:
    """Return settings with `values`, and by default a fixed key, JSON logs and SQLite in memory; no .env is read."""
    return Settings(_env_file=None, **{"secret_key": KEY, "log_format": "json", "database_url": IN_MEMORY, **values})


def sandbox(clock: HandClock, behaviour: Behaviour = FREE, *, seconds: float = SECONDS) -> Sandbox:
    """Return the sandbox backend; a generation takes `seconds` by the test's clock."""
    return Sandbox(seconds=seconds, media_url="https://cdn.example.com/luma", clock=clock, behaviour=behaviour)


@dataclass(frozen=True)
class Service:
    """A running service and a client for it. `url` has no path; `http` is a plain HTTP client."""

    url: str
    assembly: Assembly
    http: httpx.AsyncClient

    async def post(
        self, message: Mapping[str, Any], *, token: str = "token-a", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """POST one JSON-RPC message to /mcp under `token`; `headers` replace the default ones."""
        sent = {"authorization": f"Bearer {token}", "accept": "application/json", **(headers or {})}
        return await self.http.post(f"{self.url}/mcp", json=message, headers=sent)

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, *, token: str = "token-a", era: str = MODERN
    ) -> dict[str, Any]:
        """Send one request in the form of `era` and return the JSON-RPC response."""
        message, headers = envelope(method, params or {}, era)
        response = await self.post(message, token=token, headers=headers)
        answer: dict[str, Any] = response.json()
        return answer

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, token: str = "token-a", era: str = MODERN
    ) -> dict[str, Any]:
        """Call a tool and return its CallToolResult, error or not, which fits the schema that the tool publishes."""
        answer = await self.request("tools/call", {"name": tool, "arguments": arguments}, token=token, era=era)
        result: dict[str, Any] = answer["result"]
        if (content := result.get("structuredContent")) is not None:
            _validators()[tool].validate(content)
        return result

    async def ask(self, tool: str, arguments: Mapping[str, Any], *, token: str = "token-a", era: str = MODERN) -> Any:
        """Call a tool and return its typed result. Raises AssertionError if the call fails."""
        result = await self.call(tool, arguments, token=token, era=era)
        assert result["isError"] is False, result["content"][0]["text"]
        return result["structuredContent"]["result"]

    async def fail(self, tool: str, arguments: Mapping[str, Any], *, token: str = "token-a", era: str = MODERN) -> Any:
        """Call a tool and return its typed error. Raises AssertionError if the call succeeds."""
        result = await self.call(tool, arguments, token=token, era=era)
        assert result["isError"] is True, result
        return result["structuredContent"]["result"]["error"]


@cache
def _validators() -> dict[str, Draft202012Validator]:
    """Return the validator of each tool's output schema, which neither the backend nor the settings change."""
    tools = (tool.published() for tool in build_catalog(200, ACEDATACLOUD))
    return {tool.name: Draft202012Validator(tool.output_schema or {}) for tool in tools}


def envelope(method: str, params: Mapping[str, Any], era: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a JSON-RPC request (id 1) and its HTTP headers, as a client of the revision `era` sends them."""
    headers, params = (
        {"mcp-protocol-version": era},
        dict(params),
    )  # callers add to the message, and share what they gave
    if era == MODERN:
        headers["mcp-method"] = method
        if name := params.get("name") or params.get("uri") or params.get("taskId"):
            headers["mcp-name"] = name
        meta = {
            "io.modelcontextprotocol/protocolVersion": era,
            "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {**params, "_meta": {**meta, **params.get("_meta", {})}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers


def padded(message: Mapping[str, Any], padding: str) -> bytes:
    """Return `message` as JSON, with the JSON text `padding` as a value in its `_meta`."""
    copy = json.loads(json.dumps(message))
    copy["params"]["_meta"]["padding"] = "PADDING"
    return json.dumps(copy).replace('"PADDING"', padding).encode()


def call_bytes(tool: str, arguments: Mapping[str, Any], token: str) -> bytes:
    """Return an HTTP request, head and body, that calls a tool; for tests that write to the socket themselves."""
    message, headers = envelope("tools/call", {"name": tool, "arguments": arguments}, MODERN)
    return request_bytes(message, {**headers, "accept": "application/json"}, token)


def request_bytes(message: Mapping[str, Any] | list[Any], headers: Mapping[str, str], token: str) -> bytes:
    """Return an HTTP request, head and body, that POSTs one JSON-RPC message, or an array of them, to /mcp."""
    body = json.dumps(message)
    fields = {
        **headers,
        "host": "127.0.0.1",
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /mcp HTTP/1.1\r\n{head}\r\n{body}".encode()


@asynccontextmanager
async def serving(
    values: Settings,
    backend: Sandbox | httpx.AsyncBaseTransport | VideoBackend,
    clock: HandClock | None = None,
    authenticator: Authenticator | None = None,
) -> AsyncIterator[Service]:
    """Serve with `values` until the block ends.

    `backend` is a sandbox or an HTTP transport behind the AceDataCloud adapter, or a VideoBackend in its place.
    `authenticator` is by default the one that passes each caller's token through. Without `clock` the real time counts.
    """
    network = httpx.ASGITransport(sandbox_app(backend)) if isinstance(backend, Sandbox) else backend
    transport = network if isinstance(network, httpx.AsyncBaseTransport) else None
    assembly = assemble(
        values,
        base_url="http://127.0.0.1",
        transport=transport,
        timeouts=IMPATIENT,
        clocks=clock.clocks if clock is not None else None,
        backend=network if not isinstance(network, httpx.AsyncBaseTransport) else None,
        authenticator=authenticator,
    )
    if clock is not None:
        clock.hold_while(lambda: assembly.persistence.database.is_busy)
    async with listening(create_app(values, assembly)) as url, plain_client() as client:
        yield Service(url, assembly, client)


def plain_client(**options: Any) -> httpx.AsyncClient:
    """Return a client for plain HTTP. It loads no certificates, which takes 50 ms."""
    return httpx.AsyncClient(timeout=30, verify=_NO_CERTIFICATES, **options)


_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@asynccontextmanager
async def listening(app: ASGIApp, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Run `app` under uvicorn on a free port of loopback until the block ends; yield its URL without a path."""
    bound = listening_socket(host, 0)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", http=DisconnectAwareProtocol, ws="none"
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[bound]))
    started = asyncio.create_task(server.has_started.wait())
    try:
        await asyncio.wait((running, started), return_when=asyncio.FIRST_COMPLETED)
        yield f"http://{host}:{bound.getsockname()[1]}"
    finally:
        started.cancel()
        server.should_exit = True
        await running
        bound.close()


class _Server(uvicorn.Server):
    """A server that says when it has started. Asking it again and again would slow down the threads of SQLite."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_started.set()


def text_of(result: Mapping[str, Any]) -> str:
    """Return the text content of a tool result, which the model reads."""
    text: str = result["content"][0]["text"]
    return text


def compact(value: Any) -> str:
    """Return `value` as JSON without spaces and with unescaped Unicode."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
