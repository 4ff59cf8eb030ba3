"""Coordination: one contract for a single process and for every kind of Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from app.adapters.memory.coordination import MAX_KEYS, MAX_MEMBERS, MAX_SETS_BYTES, MemoryCoordination
from app.adapters.redis.coordination import RedisCoordination
from app.adapters.redis.store import connect
from app.ports.coordination import Coordination, EventKind
from app.ports.store import StoreRefuses, StoreUnavailable
from app.services.tasks.sealed_values import MAX_BYTES
from tests.support.clock import HandClock
from tests.support.keeping import CHANNEL, SIGNER, until_heard
from tests.support.redis_forms import connected
from tests.support.redis_server import RedisServer

FORMS = ["memory", "redis", "sentinel", "cluster"]
KEY = "{tenant-a}:key"


@pytest.fixture(params=FORMS)
async def coordination(
    request: pytest.FixtureRequest, redis_urls: dict[str, str], clock: HandClock
) -> AsyncIterator[Coordination]:
    if request.param == "memory":
        yield MemoryCoordination(clock)
        return
    store = await connected(redis_urls[request.param])
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL, clock)
    coordination.start()
    yield coordination
    await store.remove_many([KEY])
    await coordination.aclose()
    await store.aclose()


async def test_put_if_absent_stores_the_first_value_and_returns_it_to_others(coordination: Coordination) -> None:
    assert await coordination.get(KEY) is None
    assert await coordination.put_if_absent(KEY, b"first", 60) is None
    assert await coordination.put_if_absent(KEY, b"second", 60) == b"first"
    assert await coordination.get(KEY) == b"first"


async def test_one_of_many_concurrent_put_if_absent_stores(coordination: Coordination) -> None:
    found = await asyncio.gather(*(coordination.put_if_absent(KEY, str(n).encode(), 60) for n in range(10)))
    assert found.count(None) == 1
    assert len({value for value in found if value is not None}) == 1


async def test_a_value_is_replaced_only_if_it_is_the_expected_one(coordination: Coordination) -> None:
    await coordination.put_if_absent(KEY, b"old", 60)
    assert await coordination.replace(KEY, b"guessed", b"new", 60) is False
    assert await coordination.replace(KEY, b"old", b"new", 60) is True
    assert await coordination.get(KEY) == b"new"
    assert await coordination.replace("{tenant-a}:nothing", b"", b"new", 60) is False


async def test_a_value_is_removed_only_if_it_is_the_expected_one(coordination: Coordination) -> None:
    await coordination.put_if_absent(KEY, b"mine", 60)
    await coordination.remove(KEY, b"another's")
    assert await coordination.get(KEY) == b"mine"
    await coordination.remove(KEY, b"mine")
    assert await coordination.get(KEY) is None


async def test_members_expire_and_the_last_to_expire_comes_first(coordination: Coordination, clock: HandClock) -> None:
    await coordination.add_members(KEY, ["a", "b"], 60)
    clock.advance(10)
    await coordination.add_members(KEY, ["b", "c"], 60)
    assert set(await coordination.members(KEY, 10)) == {"a", "b", "c"}
    assert (await coordination.members(KEY, 10))[-1] == "a"
    assert "a" not in await coordination.members(KEY, 2)
    clock.advance(51)
    assert set(await coordination.members(KEY, 10)) == {"b", "c"}
    assert await coordination.members("{tenant-a}:nobody", 10) == []


async def test_a_set_is_bounded(coordination: Coordination) -> None:
    names = [f"m{number}" for number in range(MAX_MEMBERS + 50)]
    for start in range(0, len(names), 150):
        await coordination.add_members(KEY, names[start : start + 150], 60)
    assert len(await coordination.members(KEY, 10_000)) == MAX_MEMBERS


async def test_values_and_members_of_other_programs_are_not_read(redis_server: RedisServer, clock: HandClock) -> None:
    store = connect(redis_server.url)
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL, clock)
    with redis_server.client() as client:
        client.set("{tenant-c}:held", b"x" * (MAX_BYTES + 1))
        client.zadd("{tenant-c}:awaited", {SIGNER.sign("{tenant-c}:awaited", b"x" * 1000): clock() + 30})
        client.zadd("{tenant-c}:awaited", {f"junk-{number}": 9e9 for number in range(MAX_MEMBERS)})
    assert await coordination.get("{tenant-c}:held") == b""
    assert await coordination.put_if_absent("{tenant-c}:held", b"mine", 60) == b""
    await coordination.add_members("{tenant-c}:awaited", ["mine"], 60)
    assert await coordination.members("{tenant-c}:awaited", MAX_MEMBERS) == ["mine"]
    await store.aclose()


async def test_a_listener_gets_events_until_it_unsubscribes(coordination: Coordination) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    stop = coordination.subscribe(EventKind.TASKS, heard.put_nowait)
    message = b""
    async with asyncio.timeout(10):
        while message != b"hello":  # until the channel is open
            await coordination.publish(EventKind.TASKS, b"hello")
            await asyncio.sleep(0)
            message = heard.get_nowait() if not heard.empty() else b""
    stop()
    stop()
    while not heard.empty():
        heard.get_nowait()
    await coordination.publish(EventKind.TASKS, b"too late")
    await coordination.publish(EventKind.TASKS, b"too late")
    assert heard.empty()


async def test_a_listener_gets_only_events_of_its_kind(coordination: Coordination) -> None:
    tasks: list[bytes] = []
    heard = asyncio.Event()
    coordination.subscribe(EventKind.TASKS, tasks.append)
    coordination.subscribe(EventKind.PROBE, lambda message: heard.set() if message == b"a\0probe" else None)
    async with asyncio.timeout(10):
        while not heard.is_set():  # until the channel is open
            await coordination.publish(EventKind.PROBE, b"a\0probe")
            await asyncio.sleep(0)
    assert tasks == []


async def test_keys_expire(clock: HandClock) -> None:
    alone = MemoryCoordination(clock)
    await alone.put_if_absent(KEY, b"mine", 10)
    clock.advance(10)
    assert await alone.get(KEY) is None


async def test_keys_in_memory_are_refused_rather_than_evicted(clock: HandClock) -> None:
    memory = MemoryCoordination(clock)
    for number in range(MAX_KEYS):
        assert await memory.put_if_absent(f"key-{number}", b"bought", 60) is None
    with pytest.raises(StoreRefuses):
        await memory.put_if_absent("one more", b"bought", 60)
    assert await memory.put_if_absent("key-0", b"again", 60) == b"bought"
    clock.advance(60)
    assert await memory.put_if_absent("one more", b"bought", 60) is None


async def test_sets_in_memory_expire_and_are_bounded_in_bytes(clock: HandClock) -> None:
    alone = MemoryCoordination(clock)
    for number in range(20_000):
        await alone.add_members(f"{{tenant-{number}}}:awaited", ["x" * 128] * 3 + [str(n) * 30 for n in range(9)], 10)
    assert alone.sets_bytes <= MAX_SETS_BYTES
    assert await alone.members("{tenant-19999}:awaited", 1) != []
    clock.advance(10)
    assert alone.sets_bytes == 0


async def test_redis_keys_expire(redis_server: RedisServer) -> None:
    store = connect(redis_server.url)
    await RedisCoordination(store.connection, SIGNER, CHANNEL).put_if_absent(KEY, b"mine", 15)
    left = await store.client.pttl(KEY)
    await store.aclose()
    assert 10_000 < left <= 15_000


async def test_a_set_in_redis_expires_with_its_newest_member(redis_server: RedisServer, clock: HandClock) -> None:
    store = connect(redis_server.url)
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL, clock)
    left = []
    for seconds in (15, 600):
        await coordination.add_members(KEY, ["a"], seconds)
        left.append(await store.client.pttl(KEY) / 1000)
    await store.aclose()
    assert 0 < left[0] <= 15 < left[1] <= 600


async def test_every_operation_raises_store_unavailable_without_redis(fragile_redis: RedisServer) -> None:
    store = connect(fragile_redis.url)
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL)
    fragile_redis.stop()
    for attempt in (
        coordination.get(KEY),
        coordination.put_if_absent(KEY, b"", 1),
        coordination.replace(KEY, b"", b"", 1),
        coordination.remove(KEY, b""),
        coordination.add_members(KEY, ["a"], 1),
        coordination.members(KEY, 1),
        coordination.publish(EventKind.TASKS, b""),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    await store.aclose()


async def test_the_channel_is_reopened_after_an_outage_of_redis(fragile_redis: RedisServer) -> None:
    store = connect(fragile_redis.url)
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL)
    coordination.start()
    openings = 0
    for _ in range(2):
        await until_heard(coordination, coordination)
        openings += 1
        await asyncio.to_thread(fragile_redis.stop)
        await asyncio.to_thread(fragile_redis.start)
    await coordination.aclose()
    await store.aclose()
    assert openings == 2


async def test_the_channel_is_reopened_if_a_proxy_has_lost_it(redis_server: RedisServer) -> None:
    """A proxy loses the first subscription, and keeps the connection to the client open."""
    subscriptions = 0

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal subscriptions
        try:
            while part := await reader.read(65536):
                if b"SUBSCRIBE" in part:
                    subscriptions += 1
                    if subscriptions == 1:
                        await reader.read()
                        break
                writer.write(part)
        finally:
            writer.close()

    async def connect_through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", redis_server.port)
        with contextlib.suppress(asyncio.CancelledError):  # it may end with the loop
            await asyncio.gather(carry(reader, back), carry(there, writer))

    wire = await asyncio.start_server(connect_through, "127.0.0.1", 0)
    store = connect(f"redis://127.0.0.1:{wire.sockets[0].getsockname()[1]}/0")
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL)
    coordination.start()
    await until_heard(coordination, coordination)
    await coordination.aclose()
    await store.aclose()
    wire.close()
    assert subscriptions == 2
