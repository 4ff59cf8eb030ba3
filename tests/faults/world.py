"""The processes of one scenario: a Redis, the oracle, and two replicas of the service, on loopback."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import psutil

from tests.support.process import COMMAND, environment
from tests.support.redis_server import RedisSentinel, RedisServer, free_port

ROOT = Path(__file__).parents[2]
KEY = "a key for the fault tests, long enough"
READY_SECONDS = 30.0
RedisForm = Literal["alone", "slow", "sentinel"]
SERVE = (COMMAND, "serve")
STEPPED = (sys.executable, "-m", "tests.faults.stepped")


class Replica:
    """One process of the service, on a port that it keeps over restarts."""

    def __init__(self, command: Sequence[str], settings: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._command = [*command, "--port", str(self.port)]
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process:
        """The running process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    async def start(self) -> None:
        """Start the process and wait until it is ready."""
        # A log that is a device and not a file is one that a scenario chose for its fault.
        with self.log.open("ab" if self.log.is_file() or not self.log.exists() else "wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
                self._command, cwd=ROOT, env=environment(**self._settings), stdout=log, stderr=log
            )
        async with httpx.AsyncClient() as client:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._is_ready(client):
                    await asyncio.sleep(0.05)

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.url}/livez")).status_code == 200
        except httpx.TransportError:
            return False

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def stopped(self) -> int:
        """Wait for the process to end; return its exit status."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, 60)

    def close(self) -> None:
        """End the process, by its id, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)


class Wire:
    """The way to a Redis on which every answer takes its time."""

    def __init__(self) -> None:
        self.port = 0
        self.delay_seconds = 0.0

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[None]:
        """Carry what comes while entered."""

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", port)
            except OSError:  # nobody is there, which the caller sees by its own connection
                writer.close()
                return
            with suppress(asyncio.CancelledError):  # asyncio makes a traceback of a connection that ends with the loop
                await asyncio.gather(self._carry(reader, back, slowly=False), self._carry(there, writer, slowly=True))

        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(65536):
                if slowly:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(part)
                await writer.drain()
        writer.close()


class World:
    """Everything of one scenario; entered, it runs."""

    def __init__(
        self,
        *,
        command: Sequence[str] = SERVE,
        arguments: Sequence[str] = (),
        log: str | None = None,
        redis_form: RedisForm = "alone",
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="luma-mcp-faults-")
        self.folder = Path(self._folder.name)
        self.redis = RedisServer()
        self.clock = self.folder / "clock"
        self.clock.write_text("0")
        self.wire = Wire()
        self._redis_form = redis_form
        self._stack = AsyncExitStack()
        self._command = [*command, *arguments]
        self._log = log
        self._oracle: subprocess.Popen[str] | None = None
        self.oracle_url = ""
        self.replicas: list[Replica] = []

    async def __aenter__(self) -> Self:
        redis_url = await self._start_redis()
        self._oracle = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [sys.executable, "-m", "tests.faults.oracle"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._oracle.stdout is not None
        said = await asyncio.to_thread(self._oracle.stdout.readline)
        self.oracle_url = said.split(" at ")[1].strip().removesuffix("/mcp")
        settings = {
            "redis_url": redis_url,
            "acedata_url": self.oracle_url,
            "secret_key": KEY,
            "faults_clock": str(self.clock),
        }
        for number in range(2):
            log = Path(self._log) if self._log else self.folder / f"replica-{number}.log"
            self.replicas.append(Replica(self._command, settings, log))
        await asyncio.gather(*(replica.start() for replica in self.replicas))
        return self

    async def _start_redis(self) -> str:
        """Start Redis in the form of this world; return its URL."""
        self._stack.callback(self.redis.close)
        await asyncio.to_thread(self.redis.start)
        match self._redis_form:
            case "slow":
                await self._stack.enter_async_context(self.wire.to(self.redis.port))
                return f"redis://127.0.0.1:{self.wire.port}/0"
            case "sentinel":
                return await asyncio.to_thread(self._start_sentinel)
        return self.redis.url

    def _start_sentinel(self) -> str:
        """Start a replica, and a Sentinel that gives a master up after half a second."""
        replica, sentinel = RedisServer("--replicaof", "127.0.0.1", str(self.redis.port)), RedisSentinel(self.redis)
        for server in (replica, sentinel):
            self._stack.callback(server.close)
            server.start()
        with replica.client() as client:
            while client.info("replication")["master_link_status"] != "up":
                time.sleep(0.05)
        with sentinel.client() as client:
            client.execute_command("SENTINEL", "SET", "luma", "down-after-milliseconds", "500")
            client.execute_command("SENTINEL", "SET", "luma", "failover-timeout", "3000")
            while client.execute_command("SENTINEL", "REPLICAS", "luma") == []:
                time.sleep(0.05)
        return f"redis+sentinel://127.0.0.1:{sentinel.port}/luma/0"

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for replica in self.replicas:
            replica.close()
        if self._oracle is not None:
            self._oracle.kill()
            self._oracle.wait(30)
            assert self._oracle.stdout is not None
            self._oracle.stdout.close()
        await self._stack.aclose()
        self._folder.cleanup()

    async def tell_oracle(self, fault: str | None, share: float = 0.0) -> None:
        """Let the backend break in this way from now on, for this share of its answers."""
        async with httpx.AsyncClient() as client:
            await client.post(f"{self.oracle_url}/control", json={"fault": fault, "share": share})

    async def bought(self) -> dict[str, int]:
        """Return how often the backend was asked to make each video."""
        async with httpx.AsyncClient() as client:
            state: dict[str, Any] = (await client.get(f"{self.oracle_url}/state")).json()
        found: dict[str, int] = state["submissions"]
        return found

    def logged(self) -> Iterator[str]:
        """Yield the lines that the replicas have logged."""
        for log in {replica.log for replica in self.replicas if replica.log.is_file()}:
            with log.open(errors="replace") as lines:
                yield from lines
