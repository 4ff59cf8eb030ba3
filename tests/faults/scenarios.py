"""What breaks, one scenario each: entered, the fault is there; left, it is gone."""

import asyncio
import contextlib
import random
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.faults import oracle
from tests.faults.world import SERVE, STEPPED, RedisForm, Replica, World
from tests.support.redis_server import RedisServer, free_port
from tests.support.service import call_bytes

Break = Callable[[World], AbstractAsyncContextManager[None]]
IDLE_CONNECTIONS = 2_000
FEW = 20
"""Descriptors that the load itself may come to hold."""

SLOW_CLIENTS = 20
FAULTY_SHARE = 0.3
REDIS_DELAY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which things break. `seconds` is how long the load goes on while they are broken.

    `patience_seconds` is how long a call may take meanwhile.
    """

    group: str
    name: str
    broken: Break
    seconds: float = 2.5
    backend_is_faulty: bool = False
    patience_seconds: float = 5.0
    command: Sequence[str] = SERVE
    arguments: Sequence[str] = ()
    log: str | None = None
    redis_form: RedisForm = "alone"


@asynccontextmanager
async def redis_killed(world: World) -> AsyncIterator[None]:
    await asyncio.to_thread(world.redis.stop)
    yield
    await asyncio.to_thread(world.redis.start)


@asynccontextmanager
async def redis_restarted_empty(world: World) -> AsyncIterator[None]:
    await asyncio.to_thread(world.redis.stop)
    await asyncio.to_thread(world.redis.start)
    yield


@asynccontextmanager
async def redis_hung(world: World) -> AsyncIterator[None]:
    world.redis.hang()
    yield
    world.redis.resume()


@asynccontextmanager
async def redis_out_of_memory(world: World) -> AsyncIterator[None]:
    with world.redis.client() as client:
        client.config_set("maxmemory", "1mb")
        yield
        client.config_set("maxmemory", "0")


@asynccontextmanager
async def redis_read_only(world: World) -> AsyncIterator[None]:
    with world.redis.client() as client:
        client.replicaof("127.0.0.1", free_port())
        yield
        client.replicaof("NO", "ONE")


@asynccontextmanager
async def redis_poisoned(world: World) -> AsyncIterator[None]:
    async def poison() -> None:
        while True:
            await asyncio.to_thread(_poison, world.redis)
            await asyncio.sleep(0.05)

    poisoning = asyncio.create_task(poison())
    yield
    poisoning.cancel()
    await asyncio.wait([poisoning])
    world.redis.empty()


def _poison(server: RedisServer) -> None:
    """Spoil every cached value: cut short, swapped with another tenant's, forged under the right name, or noise."""
    with server.client() as client:
        keys: list[bytes] = [key for key in client.scan_iter(count=1000) if b":task:" in key]
        values = client.mget(keys) if keys else []
        spoilt: dict[bytes, bytes] = {}
        for key, value in zip(keys, values, strict=True):
            owner, _, rest = (value or b"").partition(b" ")
            other = random.choice(values) or b""
            forged = owner + b" " + other.partition(b" ")[2]
            spoilt[key] = random.choice((value[: len(value) // 2] if value else b"", other, forged, b"\x00\xff", rest))
        if spoilt:
            pipeline = client.pipeline(transaction=False)
            for key, value in spoilt.items():
                pipeline.set(key, value, xx=True, keepttl=True)
            pipeline.execute()


@asynccontextmanager
async def redis_slow(world: World) -> AsyncIterator[None]:
    world.wire.delay_seconds = REDIS_DELAY_SECONDS
    yield
    world.wire.delay_seconds = 0.0


@asynccontextmanager
async def redis_failed_over(world: World) -> AsyncIterator[None]:
    """Kill the master that the Sentinel watches; its replica takes its place while the load goes on."""
    await asyncio.to_thread(world.redis.stop)
    yield


def backend(fault: str, share: float = FAULTY_SHARE) -> Break:
    @asynccontextmanager
    async def broken(world: World) -> AsyncIterator[None]:
        await world.tell_oracle(fault, share)
        yield
        await world.tell_oracle(None)

    return broken


@asynccontextmanager
async def one_told_to_stop(world: World) -> AsyncIterator[None]:
    world.replicas[0].signal(signal.SIGTERM)
    assert await world.replicas[0].stopped() == 0, "a replica that is told to stop ends well"
    yield
    await world.replicas[0].start()


@asynccontextmanager
async def one_killed(world: World) -> AsyncIterator[None]:
    world.replicas[0].signal(signal.SIGKILL)
    await world.replicas[0].stopped()
    yield
    await world.replicas[0].start()


@asynccontextmanager
async def rolled_over(world: World) -> AsyncIterator[None]:
    for replica in world.replicas:
        replica.signal(signal.SIGTERM)
        assert await replica.stopped() == 0, "a replica that is told to stop ends well"
        await replica.start()
    yield


@asynccontextmanager
async def clock_steps(world: World) -> AsyncIterator[None]:
    """Set the wall clock of both replicas an hour forward, then two back, then right."""
    for offset in (3600, -3600):
        world.clock.write_text(str(offset))
        await asyncio.sleep(1.0)
    yield
    world.clock.write_text("0")


@asynccontextmanager
async def idle_connections(world: World) -> AsyncIterator[None]:
    idle = [
        socket.create_connection(("127.0.0.1", world.replicas[number % 2].port)) for number in range(IDLE_CONNECTIONS)
    ]
    yield
    for connection in idle:
        connection.close()


@asynccontextmanager
async def slow_readers(world: World) -> AsyncIterator[None]:
    """Ask for much, many times over, and read the answers a few bytes at a time."""

    async def read_slowly(replica: Replica) -> None:
        # A small buffer, so that the answers pile up at the service and not on the way.
        raw = socket.create_connection(("127.0.0.1", replica.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
        writer.write(_batch([f"f-{number}" for number in range(100)]) * 20)
        with contextlib.suppress(ConnectionError):
            while await reader.read(100):
                await asyncio.sleep(0.05)
        writer.close()

    async with _meanwhile(world, read_slowly):
        yield


@asynccontextmanager
async def slow_writers(world: World) -> AsyncIterator[None]:
    """Send a request a byte at a time."""

    async def write_slowly(replica: Replica) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", replica.port)
        with contextlib.suppress(ConnectionError):
            for byte in _batch(["f-1"]):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()

    async with _meanwhile(world, write_slowly):
        yield


@asynccontextmanager
async def leaving_clients(world: World) -> AsyncIterator[None]:
    """Ask, and leave before the answer: while a task is waited for, and while one is read."""

    async def ask_and_leave(replica: Replica) -> None:
        for number in range(1_000):
            _, writer = await asyncio.open_connection("127.0.0.1", replica.port)
            writer.write(_batch([f"r-{number}"], wait_seconds=30 * (number % 2)))
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.transport.abort()

    before = [replica.process.num_fds() for replica in world.replicas]
    async with _meanwhile(world, ask_and_leave, count=4):
        yield
    async with asyncio.timeout(10):
        while any(
            replica.process.num_fds() > descriptors + FEW
            for replica, descriptors in zip(world.replicas, before, strict=True)
        ):
            await asyncio.sleep(0.1)


@asynccontextmanager
async def workers_killed(world: World) -> AsyncIterator[None]:
    """Kill a worker of each replica; its supervisor starts another."""
    for replica in world.replicas:
        workers = [child for child in replica.process.children() if "spawn_main" in " ".join(child.cmdline())]
        workers[-1].kill()
    yield


@asynccontextmanager
async def nothing(_world: World) -> AsyncIterator[None]:
    """Break nothing: what is broken is so from the start."""
    yield


@asynccontextmanager
async def _meanwhile(
    world: World, one: Callable[[Replica], Awaitable[None]], *, count: int = SLOW_CLIENTS
) -> AsyncIterator[None]:
    clients = [asyncio.ensure_future(one(world.replicas[number % 2])) for number in range(count)]
    try:
        yield
    finally:
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)


def _batch(task_ids: list[str], **arguments: Any) -> bytes:
    return call_bytes("luma_get_tasks_batch", {"task_ids": task_ids, **arguments}, "secret-token-0")


SCENARIOS = (
    Scenario("Redis", "killed, and back after a while", redis_killed),
    Scenario("Redis", "restarted empty", redis_restarted_empty),
    Scenario("Redis", "hung", redis_hung, seconds=8.0),
    Scenario("Redis", "slow, 50 ms an answer", redis_slow, redis_form="slow"),
    Scenario("Redis", "out of memory", redis_out_of_memory),
    Scenario("Redis", "a read-only replica", redis_read_only),
    Scenario("Redis", "failed over by Sentinel", redis_failed_over, redis_form="sentinel", seconds=5.0),
    Scenario("Redis", "values poisoned and cut short", redis_poisoned),
    *(
        Scenario("Backend", fault, backend(fault), backend_is_faulty=True, patience_seconds=40.0)
        for fault in oracle.FAULTS
        if fault != "duplicated and reordered"
    ),
    Scenario("Backend", "items duplicated and reordered", backend("duplicated and reordered", 1.0)),
    Scenario("Service", "SIGTERM of one of two", one_told_to_stop),
    Scenario("Service", "SIGKILL of one of two", one_killed),
    Scenario("Service", "both restarted in turn", rolled_over),
    Scenario("Service", "clock steps of an hour", clock_steps, command=STEPPED),
    Scenario("Service", "2,000 idle connections", idle_connections),
    Scenario("Service", "slow readers", slow_readers),
    Scenario("Service", "slow writers", slow_writers),
    Scenario("Service", "clients that leave", leaving_clients),
    Scenario("Service", "a full disk for the log", nothing, log="/dev/full"),
    Scenario("Service", "workers that die", workers_killed, arguments=("--workers", "2"), seconds=5.0),
)
