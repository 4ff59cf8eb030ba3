"""The attacked service, an honest caller, and the measurements of both."""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.benchmarks.processes import PYTHON, Running, serving
from tests.support.issuer import Realm, issuer_process
from tests.support.process import COMMAND
from tests.support.redis_server import RedisServer
from tests.support.service import MODERN, envelope, request_bytes

KEY = "a key for attacks that is long enough: 48 bytes or so"
READS = 15
"""The reads of the honest caller of which the median counts."""

PROBE = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
MAX_SECONDS = 5.0
"""The longest wait for the response to a probe."""

SAMPLE_SECONDS = 0.05
"""The interval between samples of the service's memory."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A cost of one attack beside memory and latency: the value, its unit (`counts`), and its limit (`most`)."""

    value: float
    counts: str
    most: float

    def __str__(self) -> str:
        return f"{self.value:,.0f} {self.counts}"


@dataclass
class Target:
    """A service under attack. `most_megabytes` is its peak resident memory so far, in 10^6 bytes.

    `backend_url` is the address of its backend, and `settings` are the service's. `folder` is for files of the attack.
    `realm` is the OpenID issuer whose tokens it accepts; None if it accepts none.
    """

    service: Running
    redis: RedisServer
    log: Path
    backend_url: str
    settings: Mapping[str, str]
    folder: Path
    realm: Realm | None = None
    most_megabytes: float = 0.0
    figures: list[Figure] = field(default_factory=list)
    _asked: int = 0

    @property
    def port(self) -> int:
        port = urlsplit(self.service.url).port
        assert port is not None
        return port

    async def connect(self, data: bytes = b"", *, limit: int = 2**16) -> "Connection":
        """Open a connection to the service and send `data`; `limit` bounds what the client buffers unread (bytes)."""
        return await connect(self.port, data, limit=limit)

    async def probe_seconds(self, sent: bytes = PROBE) -> float | None:
        """Return the seconds to a 200 response on a new connection; None if there is none within MAX_SECONDS."""
        started = time.perf_counter()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(MAX_SECONDS):
                connection = await self.connect(sent)
                status = await connection.status()
                connection.hang_up()
                return time.perf_counter() - started if status == 200 else None
        return None

    async def honest_seconds(self, http: httpx.AsyncClient) -> float:
        """Return the median time of READS reads by an honest caller, each of a task that is not cached."""
        times = []
        for _ in range(READS):
            self._asked += 1
            message, headers = batch([f"honest-{self._asked}"])
            sent = {**headers, "authorization": "Bearer honest", "accept": "application/json"}
            started = time.perf_counter()
            answer = await http.post(self.service.url, json=message, headers=sent)
            times.append(time.perf_counter() - started)
            counts = answer.json()["result"]["structuredContent"]["result"]["counts"]
            assert counts["completed"] == 1, answer.text
        return statistics.median(times)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Sample the memory of the service while the block runs."""
        sampling = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            sampling.cancel()

    async def _sample(self) -> None:
        while True:
            self.most_megabytes = max(self.most_megabytes, self.service.megabytes())
            await asyncio.sleep(SAMPLE_SECONDS)


class Connection:
    """One TCP connection of an attacker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def write(self, data: bytes) -> None:
        """Send `data`, and wait for nothing."""
        self._writer.write(data)

    async def send(self, data: bytes) -> None:
        """Send `data`, and wait at most two seconds for the service to read it."""
        self._writer.write(data)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._writer.drain()

    async def status(self) -> int:
        """Read a status line and return its status; 0 if the connection ended instead."""
        with suppress(OSError, asyncio.IncompleteReadError):
            return int((await self.reader.readuntil(b"\r\n")).split()[1])
        return 0

    async def answer(self) -> bytes:
        """Read a whole response with a Content-Length, and return its body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return await self.reader.readexactly(int(length or b"0"))

    async def result(self) -> Any:
        """Read the response to a tool call, and return the typed result; None if it is none."""
        with suppress(OSError, ValueError, LookupError, TypeError, asyncio.IncompleteReadError):
            return json.loads(await self.answer())["result"]["structuredContent"]["result"]
        return None

    async def hears(self, word: bytes) -> bool:
        """Read until `word`; return whether it came within five seconds."""
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(5):
                await self.reader.readuntil(word)
            return True
        return False

    async def is_closed_within(self, seconds: float) -> bool:
        """Read until the end of the connection; return whether the service closed it within `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                with suppress(OSError):
                    while await self.reader.read(2**16):
                        pass
                return True
        return False

    def hang_up(self) -> None:
        """Close the connection at once, without sending what is still buffered."""
        self._writer.transport.abort()


async def connect(port: int, data: bytes = b"", *, limit: int = 2**16) -> Connection:
    """Open a connection to a port and send `data`; `limit` bounds what the client buffers unread (bytes)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    connection = Connection(reader, writer)
    await connection.send(data)
    return connection


def batch(task_ids: list[str], **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the JSON-RPC message and the headers of a call of luma_get_tasks_batch; `more` are further arguments."""
    arguments = {"task_ids": task_ids, **more}
    return envelope("tools/call", {"name": "luma_get_tasks_batch", "arguments": arguments}, MODERN)


def raw(message: Mapping[str, Any], headers: Mapping[str, str], token: str) -> bytes:
    """Return an HTTP request, head and body, that POSTs `message` to /mcp and accepts a stream."""
    return request_bytes(message, {"accept": "application/json, text/event-stream", **headers}, token)


@contextmanager
def attacked(delay_seconds: float, settings: Mapping[str, str], *, has_issuer: bool = False) -> Iterator[Target]:
    """Run the service until the block ends, with its own Redis and a backend whose reads take `delay_seconds`.

    `{folder}` in a setting stands for a temporary folder. With `has_issuer`, an OpenID issuer runs too, and the service
    accepts keys of teams and tokens of the issuer.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="luma-mcp-attack-"))
        redis = RedisServer()
        stack.callback(redis.close)
        redis.start()
        command = [PYTHON, "-m", "tests.attacks.backend", "--delay", str(delay_seconds)]
        backend = stack.enter_context(serving(command, {}, on=[]))
        backend_url = backend.url.removesuffix("/mcp")
        given = {"acedata_url": backend_url, "redis_url": redis.url, "secret_key": KEY}
        realm = stack.enter_context(issuer_process()).realm() if has_issuer else None
        if realm is not None:
            given |= {
                "auth": "passthrough,keys,jwt",
                "jwt_issuer": realm.issuer,
                "database_url": f"sqlite:///{folder}/db",
                "public_url": "https://luma.example.com",
            }
        given |= {name: value.replace("{folder}", folder) for name, value in settings.items()}
        service = stack.enter_context(serving([COMMAND, "serve", "--port", "0"], given, on=[]))
        yield Target(service, redis, service.log, backend_url, given, Path(folder), realm)
