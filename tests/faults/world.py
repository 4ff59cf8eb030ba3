"""The processes of one scenario, on loopback: Redis, a database, the fake backend, and two replicas of the service."""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from tests.faults.ports import low_port
from tests.faults.replica import ROOT, Replica
from tests.faults.sentinel import start_sentinel
from tests.faults.wire import TcpProxy
from tests.support.postgres_server import PostgresServer
from tests.support.process import COMMAND
from tests.support.redis_server import RedisSentinel, RedisServer

KEY = "a key for the fault tests: long enough"
SERVE = (COMMAND, "serve")
CLOCKWORK = Path(__file__).parent / "clockwork"
SECRETS = ("secret-token", "secret prompt", "secret-key", "cdn.example.com")
"""Parts of tokens, prompts, keys and video URLs, which no log may contain."""


@dataclass(frozen=True, slots=True)
class Form:
    """The processes that a scenario needs.

    command, arguments: start a replica.
    log: a device for the log of the first replica; None means a file, as for the second one.
    redis: one server, one behind a proxy that can delay answers, or a master with a replica and a Sentinel.
    database: SQLite, PostgreSQL, or a PostgreSQL primary with a standby, behind a proxy.
    clock: whether the scenario can set the wall clocks of the replicas.
    """

    command: Sequence[str] = SERVE
    arguments: Sequence[str] = ()
    log: str | None = None
    redis: Literal["alone", "slow", "sentinel"] = "alone"
    database: Literal["sqlite", "postgres", "replicated"] = "sqlite"
    clock: bool = False


USUAL = Form()
"""Two replicas with the installed command, one Redis, and SQLite."""


@dataclass(slots=True)
class World:
    """The running processes of one scenario. `sentinel`, `postgres` and `standby` are None unless the form has them."""

    folder: Path
    redis: RedisServer
    redis_proxy: TcpProxy
    http: httpx.AsyncClient
    oracle_url: str = ""
    sentinel: RedisSentinel | None = None
    postgres: PostgresServer | None = None
    standby: PostgresServer | None = None
    postgres_proxy: TcpProxy = field(default_factory=TcpProxy)
    replicas: list[Replica] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        """The URLs of the replicas, without a path."""
        return [replica.url for replica in self.replicas]

    @property
    def database_file(self) -> Path:
        """The SQLite file that both replicas share, if the form has no PostgreSQL."""
        return self.folder / "luma.db"

    @property
    def clock(self) -> Path:
        """The file with the offset of the replicas' wall clocks (see clockwork/sitecustomize.py)."""
        return self.folder / "clock"

    def set_clock(self, offset_seconds: float) -> None:
        """Set the offset of both replicas' wall clocks. The file is changed in place, because they have it mapped."""
        with self.clock.open("r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("d", offset_seconds))

    async def set_oracle(self, **order: Any) -> None:
        """Set the backend's `fault` (None: no fault), the `share` of answers that it breaks, or its random `seed`."""
        (await self.http.post(f"{self.oracle_url}/control", json=order)).raise_for_status()

    async def oracle_state(self) -> dict[str, Any]:
        """Return the backend's counters and purchases (see oracle.Oracle)."""
        state: dict[str, Any] = (await self.http.get(f"{self.oracle_url}/state")).json()
        return state

    async def metric(self, name: str, label: str = "") -> float:
        """Return a Prometheus counter of the service, summed over its series with `label` and the live replicas.

        `name` is without "luma_mcp_" and "_total".
        """
        total = 0.0
        for url in self.urls:
            try:
                text = (await self.http.get(f"{url}/metrics")).text
            except httpx.TransportError:
                continue
            lines = [line for line in text.splitlines() if line.startswith(f"luma_mcp_{name}_total") and label in line]
            total += sum(float(line.rpartition(" ")[2]) for line in lines)
        return total

    async def values_refused(self) -> float:
        """Return how many values from Redis the service refused because their signature did not fit."""
        return await self.metric("cache_values_refused")

    def faults_logged(self) -> Iterator[str]:
        """Yield each log line of the replicas that has an error, an exception or a secret."""
        for log in [replica.log for replica in self.replicas if replica.log.is_file()]:
            with log.open(errors="replace") as lines:
                yield from (line.strip() for line in lines if _is_a_fault(line))

    def forget_peaks(self) -> None:
        """Reset the peak memory of the replicas."""
        for replica in self.replicas:
            replica.forget_peak()

    def peak_megabytes(self) -> float:
        """Return the peak memory of a process of the service since `forget_peaks`."""
        return max(replica.peak_megabytes() for replica in self.replicas)


def _is_a_fault(line: str) -> bool:
    if "Traceback" in line or any(secret in line for secret in SECRETS):
        return True
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, dict) and ("exception" in event or event.get("level") in {"error", "critical"})


@asynccontextmanager
async def running(form: Form) -> AsyncIterator[World]:
    """Start the processes of this form, and end them when the block ends or one of them does not start."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="luma-mcp-faults-")))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        world = World(folder, RedisServer(), TcpProxy(), http)
        world.redis.port = low_port()
        world.set_clock(0)
        redis_url = await _start_redis(world, form, stack)
        database_url = await _start_database(world, form, stack)
        world.oracle_url = _start_oracle(stack)
        for number in range(2):
            log = Path(form.log) if form.log is not None and number == 0 else folder / f"replica-{number}.log"
            settings = {"redis_url": redis_url, "acedata_url": world.oracle_url, "secret_key": KEY}
            settings["database_url"] = database_url
            replica = Replica([*form.command, *form.arguments], settings, log, _clockwork(world, form))
            stack.callback(replica.close)
            world.replicas.append(replica)
        await asyncio.gather(*(replica.start() for replica in world.replicas))
        yield world


def _clockwork(world: World, form: Form) -> dict[str, str]:
    """Return the environment variables that make a replica's wall clock adjustable; empty if the form has no clock."""
    return {"PYTHONPATH": str(CLOCKWORK), "FAULTS_CLOCK": str(world.clock)} if form.clock else {}


async def _start_redis(world: World, form: Form, stack: AsyncExitStack) -> str:
    """Start Redis as the form says; return the URL for the service."""
    stack.callback(world.redis.close)
    await asyncio.to_thread(world.redis.start)
    match form.redis:
        case "slow":
            await stack.enter_async_context(world.redis_proxy.to(world.redis.port))
            return f"redis://127.0.0.1:{world.redis_proxy.port}/0"
        case "sentinel":
            world.sentinel = await start_sentinel(world.redis, stack)
            return f"redis+sentinel://127.0.0.1:{world.sentinel.port}/luma/0"
        case "alone":
            return world.redis.url


async def _start_database(world: World, form: Form, stack: AsyncExitStack) -> str:
    """Start PostgreSQL if the form has it; return the URL of the database."""
    if form.database == "sqlite":
        return f"sqlite:///{world.database_file}"
    world.postgres = await asyncio.to_thread(PostgresServer, low_port())
    stack.callback(world.postgres.close)
    if form.database == "replicated":
        world.standby = await asyncio.to_thread(PostgresServer, low_port(), world.postgres)
        stack.callback(world.standby.close)
    await asyncio.to_thread(world.postgres.start)
    if world.standby is None:
        return world.postgres.url
    await asyncio.to_thread(world.standby.start)
    await stack.enter_async_context(world.postgres_proxy.to(world.postgres.port))
    return world.postgres.url.replace(f":{world.postgres.port}/", f":{world.postgres_proxy.port}/")


def _start_oracle(stack: AsyncExitStack) -> str:
    """Start the backend on a socket that is already listening, so that no request is refused; return its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        port = listening.getsockname()[1]
        oracle = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.oracle", "--fd", str(listening.fileno())],
            cwd=ROOT,
            pass_fds=[listening.fileno()],
        )
    stack.callback(oracle.wait, 30)
    stack.callback(oracle.kill)
    return f"http://127.0.0.1:{port}"
