"""Scenarios in which Redis fails: outages, latency, refused writes, failover, and corrupt values."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis

from tests.faults.poison import Kept, poison, restore
from tests.faults.ports import low_port
from tests.faults.purchases import UNKNOWN, WITHOUT_DATABASE
from tests.faults.scenario import Scenario, Stage
from tests.faults.sentinel import wait_for_new_master
from tests.faults.terms import Terms
from tests.faults.world import Form

DELAY_SECONDS = 0.05
"""The latency that the proxy adds to each answer of a slow Redis."""

PING_SECONDS = 0.3
"""The time after which a suspended Redis counts as silent."""

MARK = "a mark of the fault runs"
"""A key that is gone after a restart without persistence."""


@asynccontextmanager
async def killed(stage: Stage) -> AsyncIterator[None]:
    """Kill Redis, and start it again, empty, at the end of the fault."""
    async with _failures_seen(stage):
        await asyncio.to_thread(stage.world.redis.stop)
        try:
            yield
        finally:
            await asyncio.to_thread(stage.world.redis.start)


@asynccontextmanager
async def restarted_empty(stage: Stage) -> AsyncIterator[None]:
    """Kill Redis and start it again, empty, at the beginning of the fault."""
    server = stage.world.redis
    with server.client() as client:
        client.set(MARK, 1)
        held = client.dbsize()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    with server.client() as client:
        stage.saw("values are gone", of=held if not client.exists(MARK) else 0)
    yield


@asynccontextmanager
async def hung(stage: Stage) -> AsyncIterator[None]:
    """Suspend the process: connections stay open and get no answer."""
    async with _failures_seen(stage):
        stage.world.redis.hang()
        try:
            stage.saw("PING went unanswered", of=await asyncio.to_thread(_is_silent, stage.world.redis.port))
            yield
        finally:
            stage.world.redis.resume()


def _is_silent(port: int) -> bool:
    try:
        with redis.Redis(port=port, socket_timeout=PING_SECONDS) as client:
            return not client.ping()
    except redis.TimeoutError:
        return True


@asynccontextmanager
async def slow(stage: Stage) -> AsyncIterator[None]:
    """Delay every answer of Redis by DELAY_SECONDS."""
    stage.world.redis_proxy.delay_seconds = DELAY_SECONDS
    try:
        took = await asyncio.to_thread(_ping_seconds, stage.world.redis_proxy.port)
        stage.saw("ms for a PING", of=took * 1000 if took >= DELAY_SECONDS else 0)
        yield
    finally:
        stage.world.redis_proxy.delay_seconds = 0.0


def _ping_seconds(port: int) -> float:
    with redis.Redis(port=port) as client:
        client.ping()  # opens the connection, so that only the second PING is measured
        began = time.monotonic()
        client.ping()
        return time.monotonic() - began


@asynccontextmanager
async def out_of_memory(stage: Stage) -> AsyncIterator[None]:
    """Set maxmemory below the memory in use, so that Redis refuses writes with OOM."""
    async with _refusals_seen(stage, "OOM"):
        with stage.world.redis.client() as client:
            client.config_set("maxmemory", "1mb")
            try:
                yield
            finally:
                client.config_set("maxmemory", "0")


@asynccontextmanager
async def read_only(stage: Stage) -> AsyncIterator[None]:
    """Make Redis a replica of a port where nothing listens, so that it refuses writes with READONLY."""
    async with _refusals_seen(stage, "READONLY"):
        with stage.world.redis.client() as client:
            client.replicaof("127.0.0.1", str(low_port()))
            try:
                yield
            finally:
                client.replicaof("NO", "ONE")


@asynccontextmanager
async def failed_over(stage: Stage) -> AsyncIterator[None]:
    """Kill the master that the Sentinel monitors, and wait until its replica is promoted."""
    sentinel, lost = stage.world.sentinel, stage.world.redis
    assert sentinel is not None
    async with _failures_seen(stage):
        await asyncio.to_thread(lost.stop)
        port = await wait_for_new_master(sentinel, lost.port)
        with redis.Redis(port=port) as client:
            stage.saw("another master", of=client.info("replication")["role"] == "master")
        yield


@asynccontextmanager
async def poisoned(stage: Stage) -> AsyncIterator[None]:
    """Corrupt cached values again and again (see poison.py), and require that the service refused some of them."""
    kept: Kept = {}

    over = asyncio.Event()

    async def keep_poisoning() -> None:
        while not over.is_set():
            await asyncio.to_thread(poison, stage.world.redis, stage.random, kept)
            await asyncio.sleep(0.05)

    before = await stage.world.values_refused()

    async def has_refused_values() -> bool:
        return await stage.world.values_refused() > before

    poisoning = asyncio.create_task(keep_poisoning())
    try:
        yield
        await stage.extend_until(has_refused_values)
    finally:
        over.set()
        await poisoning
        await asyncio.to_thread(restore, stage.world.redis, kept)
    stage.saw("records and reservations spoilt or planted", of=len(kept))
    stage.saw("values refused", of=await stage.world.values_refused() - before)


@asynccontextmanager
async def _failures_seen(stage: Stage) -> AsyncIterator[None]:
    """Require on exit that the service counted failed store operations."""
    before = await stage.world.metric("store_failures")
    yield
    stage.saw("operations unanswered", of=await stage.world.metric("store_failures") - before)


@asynccontextmanager
async def _refusals_seen(stage: Stage, name: str) -> AsyncIterator[None]:
    """Require on exit that Redis counted errors of this name in INFO errorstats."""
    before = _refusals(stage, name)
    yield
    stage.saw(f"times {name}", of=_refusals(stage, name) - before)


def _refusals(stage: Stage, name: str) -> int:
    with contextlib.closing(stage.world.redis.client()) as client:
        found: int = client.info("errorstats").get(f"errorstat_{name}", {}).get("count", 0)
        return found


_OUT = Terms(purchases=frozenset({WITHOUT_DATABASE}), read_seconds=2.0)
"""Reads stay fast without Redis. Refused purchases with keys are excused, which was needed while keys were in Redis."""

REDIS_SCENARIOS = (
    Scenario("Redis", "killed, and back after a while", killed, _OUT),
    Scenario("Redis", "restarted empty", restarted_empty, _OUT, seconds=0),
    Scenario("Redis", "hung", hung, _OUT, seconds=4.0),
    Scenario("Redis", "slow, 50 ms an answer", slow, form=Form(redis="slow")),
    Scenario("Redis", "out of memory", out_of_memory, _OUT),
    Scenario("Redis", "a read-only replica", read_only, _OUT),
    Scenario(
        "Redis",
        "failed over by Sentinel",
        failed_over,
        Terms(purchases=frozenset({WITHOUT_DATABASE}), read_seconds=2.0, recovery_seconds=10.0),
        seconds=0,
        form=Form(redis="sentinel"),
    ),
    Scenario(
        "Redis",
        "values poisoned and cut short",
        poisoned,
        Terms(purchases=frozenset({UNKNOWN, "invalid_request"}), may_refuse_values=True),
        seconds=4.0,
    ),
)
