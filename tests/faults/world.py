"""The processes of one scenario: a Redis, the oracle, and two replicas of the service, on loopback."""

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
from tests.faults.wire import Wire
from tests.support.postgres_server import PostgresServer
from tests.support.process import COMMAND
from tests.support.redis_server import RedisSentinel, RedisServer

KEY = "a key for the fault tests: long enough"
SERVE = (COMMAND, "serve")
CLOCKWORK = Path(__file__).parent / "clockwork"
SECRETS = ("secret-token", "secret prompt", "secret-key", "cdn.example.com")
"""What no log may hold."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a world is made of. `log` is where the first replica logs to, if not to a file as the other does."""

    command: Sequence[str] = SERVE
    arguments: Sequence[str] = ()
    log: str | None = None
    redis: Literal["alone", "slow", "sentinel"] = "alone"
    database: Literal["sqlite", "postgres", "replicated"] = "sqlite"
    clock: bool = False


USUAL = Form()
"""Two replicas as they ship, and one Redis."""


@dataclass(slots=True)
class World:
    """Everything of one scenario, while it runs."""

    folder: Path
    redis: RedisServer
    wire: Wire
    http: httpx.AsyncClient
    oracle_url: str = ""
    sentinel: RedisSentinel | None = None
    postgres: PostgresServer | None = None
    standby: PostgresServer | None = None
    way_to_postgres: Wire = field(default_factory=Wire)
    replicas: list[Replica] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        """Where the replicas answer."""
        return [replica.url for replica in self.replicas]

    @property
    def database_file(self) -> Path:
        """The SQLite file of both replicas, where they have one."""
        return self.folder / "luma.db"

    @property
    def clock(self) -> Path:
        """The file that holds by how many seconds the replicas' wall clocks are off."""
        return self.folder / "clock"

    def set_clock(self, offset_seconds: float) -> None:
        """Put the wall clocks of both replicas off by so much, in place: they have the file mapped."""
        with self.clock.open("r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("d", offset_seconds))

    async def tell_oracle(self, **order: Any) -> None:
        """Let the backend break in a way, for a share of its answers, or draw its lots anew."""
        (await self.http.post(f"{self.oracle_url}/control", json=order)).raise_for_status()

    async def oracle(self) -> dict[str, Any]:
        """Return what the backend has counted, and all that was bought there."""
        state: dict[str, Any] = (await self.http.get(f"{self.oracle_url}/state")).json()
        return state

    async def metric(self, name: str, label: str = "") -> float:
        """Return a counter of the service's, added up over the replicas that answer."""
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
        """Return how many values of the store were taken for somebody else's, or for noise."""
        return await self.metric("cache_values_refused")

    def faults_logged(self) -> Iterator[str]:
        """Yield each line of the logs that no line may be: a fault of the service's own, or a secret."""
        for log in [replica.log for replica in self.replicas if replica.log.is_file()]:
            with log.open(errors="replace") as lines:
                yield from (line.strip() for line in lines if _is_a_fault(line))

    def forget_peaks(self) -> None:
        """Count the most memory from now on."""
        for replica in self.replicas:
            replica.forget_peak()

    def peak_megabytes(self) -> float:
        """Return the most memory that a replica has held since then."""
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
    """Run a world of this form; whatever of it was started is ended, also where the rest could not be."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="luma-mcp-faults-")))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        world = World(folder, RedisServer(), Wire(), http)
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
    """Return the variables that put a settable wall clock under any Python program."""
    return {"PYTHONPATH": str(CLOCKWORK), "FAULTS_CLOCK": str(world.clock)} if form.clock else {}


async def _start_redis(world: World, form: Form, stack: AsyncExitStack) -> str:
    """Start Redis in the form of this world; return its URL."""
    stack.callback(world.redis.close)
    await asyncio.to_thread(world.redis.start)
    match form.redis:
        case "slow":
            await stack.enter_async_context(world.wire.to(world.redis.port))
            return f"redis://127.0.0.1:{world.wire.port}/0"
        case "sentinel":
            world.sentinel = await start_sentinel(world.redis, stack)
            return f"redis+sentinel://127.0.0.1:{world.sentinel.port}/luma/0"
        case "alone":
            return world.redis.url


async def _start_database(world: World, form: Form, stack: AsyncExitStack) -> str:
    """Start a PostgreSQL where the form wants one; return the URL of the database."""
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
    await stack.enter_async_context(world.way_to_postgres.to(world.postgres.port))
    return world.postgres.url.replace(f":{world.postgres.port}/", f":{world.way_to_postgres.port}/")


def _start_oracle(stack: AsyncExitStack) -> str:
    """Start the backend on a socket that listens already; return its URL."""
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
