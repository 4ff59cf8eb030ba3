"""Reads of the store that begin together are one pipeline, and each caller gets its own values."""

import asyncio
import gc
from typing import Any

import pytest
from redis.asyncio.client import Redis

from app.adapters.redis.batched_reads import BatchedReads
from app.adapters.redis.command_queue import CONNECTIONS, PER_TENANT
from app.adapters.redis.connection import RedisConnection
from app.adapters.redis.store import SPARE_CONNECTIONS, connect
from app.ports.store import StoreUnavailable
from tests.support.forwarder import forwarding
from tests.support.hostile_redis import always, server_replying
from tests.support.redis_forms import PATIENT_SECONDS
from tests.support.redis_server import RedisServer

MINE = b"*1\r\n$4\r\nmine\r\n"


async def test_reads_that_begin_together_use_one_connection(redis_server: RedisServer) -> None:
    keys = [[f"{{tenant-{number}}}:{name}" for name in "abc"] for number in range(20)]
    async with forwarding(redis_server.port) as address:
        store = connect(f"redis://127.0.0.1:{address.port}", PATIENT_SECONDS)
        for one in keys:
            await store.put_many({one[0]: one[0].encode(), one[2]: one[2].encode()}, dict.fromkeys(one, 60.0))
        for _ in range(3):
            assert await asyncio.gather(*map(store.get_many, keys)) == [
                [a.encode(), None, c.encode()] for a, _b, c in keys
            ]
        assert address.connections == 1
        for one in keys:
            await store.remove_many(one)
        await store.aclose()


class Gate:
    """Replies with MINE to each command, but not before the test sets `is_open`. Counts the commands."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.commands: asyncio.Queue[bytes] = asyncio.Queue()

    async def reply(self, writer: asyncio.StreamWriter, command: bytes) -> None:
        self.commands.put_nowait(command)
        await self.is_open.wait()
        writer.write(MINE)


async def test_a_read_is_answered_although_the_others_have_left() -> None:
    gate = Gate()
    async with server_replying(gate.reply) as url, connect(url, PATIENT_SECONDS) as store:
        first, second, third = (asyncio.create_task(store.get_many([f"{{tenant-{n}}}:a"])) for n in range(3))
        await gate.commands.get()
        first.cancel()
        third.cancel()
        await asyncio.wait([first, third])
        gate.is_open.set()
        assert await second == [b"mine"]


async def test_reads_that_all_callers_have_left_use_up_no_connections() -> None:
    gate = Gate()
    async with server_replying(gate.reply) as url, connect(url, PATIENT_SECONDS) as store:
        for _ in range(2 * (CONNECTIONS + SPARE_CONNECTIONS)):
            left = asyncio.create_task(store.get_many(["{tenant-a}:a"]))
            async with asyncio.timeout(PATIENT_SECONDS):
                await gate.commands.get()
            left.cancel()
            await asyncio.wait([left])
        gate.is_open.set()
        assert await store.get_many(["{tenant-a}:a"]) == [b"mine"]


async def test_a_read_may_begin_right_after_its_predecessor_was_left() -> None:
    async with server_replying(always(MINE)) as url, connect(url, PATIENT_SECONDS) as store:
        left = asyncio.create_task(store.get_many(["{tenant-a}:a"]))
        await asyncio.sleep(0)
        left.cancel()
        assert await store.get_many(["{tenant-a}:b"]) == [b"mine"]


async def test_all_reads_of_a_pipeline_fail_with_it() -> None:
    async with server_replying(always(b"*1\r\n:5\r\n")) as url, connect(url, PATIENT_SECONDS) as store:
        reads = (store.get_many([f"{{tenant-{number % 2}}}:a"]) for number in range(2 * PER_TENANT))
        failures = await asyncio.gather(*reads, return_exceptions=True)
        with pytest.raises(StoreUnavailable, match="InvalidResponse"):
            await store.get_many(["{tenant-a}:a"])
    assert {type(failure) for failure in failures} == {StoreUnavailable}


class FailsWhenCancelled:
    """A pipeline whose execution ends with an error of the connection when it is cancelled."""

    def mget(self, _keys: object) -> None:
        """Queue nothing."""

    async def execute(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError from None


class Cancelled(Redis):
    """A Redis client whose pipelines fail when they are cancelled."""

    def pipeline(self, *_arguments: Any, **_options: Any) -> Any:
        return FailsWhenCancelled()


async def test_the_failure_of_a_pipeline_that_all_callers_have_left_is_not_logged() -> None:
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: contexts.append(context))
    client = Cancelled()
    left = asyncio.create_task(BatchedReads(client, RedisConnection(client)).get_many("tenant-a", ["{tenant-a}:a"]))
    for _ in range(3):
        await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait([left])
    for _ in range(3):
        await asyncio.sleep(0)
    del left  # its traceback refers to the pipeline
    gc.collect()
    assert contexts == []


class Held(Redis):
    """A Redis client whose pipelines never end. Counts the reads in them."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def pipeline(self, *_arguments: Any, **_options: Any) -> Any:
        return self

    def mget(self, *_arguments: Any) -> Any:
        self.reads += 1

    async def execute(self) -> None:
        await asyncio.Event().wait()


async def test_a_read_keeps_its_place_until_its_pipeline_ends() -> None:
    client = Held()
    connection = RedisConnection(client, PATIENT_SECONDS)
    reads = BatchedReads(client, connection)
    tasks = []
    for _ in range(3):
        new = [asyncio.create_task(reads.get_many("tenant-a", ["{tenant-a}:a"])) for _ in range(PER_TENANT)]
        for _ in range(5):
            await asyncio.sleep(0)
        for task in new[1:]:
            task.cancel()
        tasks += new
    for _ in range(5):
        await asyncio.sleep(0)
    assert client.reads == PER_TENANT
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for _ in range(5):
        await asyncio.sleep(0)
    assert connection.queue.is_idle
