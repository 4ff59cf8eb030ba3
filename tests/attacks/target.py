"""The service that is attacked, an honest caller beside the attack, and what the attack costs both."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.benchmarks.processes import PYTHON, Running, serving
from tests.support.process import COMMAND
from tests.support.redis_server import RedisServer
from tests.support.service import MODERN, envelope, request_bytes

KEY = "a key for attacks that is long enough: 48 bytes or so"
READS = 15
SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Figure:
    """What an attack cost beside memory and time: a number, what it counts, and the most that it may be."""

    value: float
    counts: str
    most: float

    def __str__(self) -> str:
        return f"{self.value:,.0f} {self.counts}"


@dataclass
class Target:
    """A service under attack. `most_megabytes` is the largest resident memory seen so far."""

    service: Running
    redis: RedisServer
    log: Path
    most_megabytes: float = 0.0
    figures: list[Figure] = field(default_factory=list)
    _asked: int = 0

    @property
    def port(self) -> int:
        port = urlsplit(self.service.url).port
        assert port is not None
        return port

    async def connect(self, data: bytes = b"", *, limit: int = 2**16) -> "Connection":
        """Return a connection to the service over which `data` was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=limit)
        connection = Connection(reader, writer)
        await connection.send(data)
        return connection

    async def honest_seconds(self, http: httpx.AsyncClient) -> float:
        """Return the median time of an honest caller's reads, each about a task that nobody has asked for."""
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
        """Sample the memory of the service while entered."""
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
    """One connection of an attacker, who may stop reading, hang up, or never finish a request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send as much of `data` as the service takes within two seconds."""
        self._writer.write(data)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._writer.drain()

    async def status(self) -> int:
        """Return the status of the next answer; 0 where the connection ended without one."""
        with suppress(OSError, asyncio.IncompleteReadError):
            return int((await self.reader.readuntil(b"\r\n")).split()[1])
        return 0

    async def hears(self, word: bytes) -> bool:
        """Return whether the service says `word` within five seconds."""
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(5):
                await self.reader.readuntil(word)
            return True
        return False

    async def is_closed_within(self, seconds: float) -> bool:
        """Return whether the service ends the connection in that time, whatever it says before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                with suppress(OSError):
                    while await self.reader.read(2**16):
                        pass
                return True
        return False

    def hang_up(self) -> None:
        self._writer.transport.abort()


def batch(task_ids: list[str], **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the message and the headers of a batch."""
    arguments = {"task_ids": task_ids, **more}
    return envelope("tools/call", {"name": "luma_get_tasks_batch", "arguments": arguments}, MODERN)


def raw(message: Mapping[str, Any], headers: Mapping[str, str], token: str) -> bytes:
    """Return a whole HTTP request."""
    return request_bytes(message, {"accept": "application/json, text/event-stream", **headers}, token)


@contextmanager
def attacked(delay_seconds: float, settings: Mapping[str, str]) -> Iterator[Target]:
    """Run the service with a Redis and a backend of its own until the block ends."""
    with ExitStack() as stack:
        redis = RedisServer()
        stack.callback(redis.close)
        redis.start()
        command = [PYTHON, "-m", "tests.attacks.backend", "--delay", str(delay_seconds)]
        backend = stack.enter_context(serving(command, {}, on=[]))
        given = {"acedata_url": backend.url.removesuffix("/mcp"), "redis_url": redis.url, "secret_key": KEY}
        service = stack.enter_context(serving([COMMAND, "serve", "--port", "0"], {**given, **settings}, on=[]))
        yield Target(service, redis, service.log)
