"""The connection for reads: replies find their callers, whatever others have put into Redis and whoever ends it."""

import asyncio

import pytest

from app.adapters.redis.pipelined_reads import MOST_REPLY_BYTES
from app.adapters.redis.store import RedisStore, connect
from app.ports.store import StoreUnavailable
from tests.support.redis_server import RedisServer

KEYS = [f"{{tenant-a}}:read:{number}" for number in range(200)]
VALUES = {key: f"value of {key}".encode() * 20 for key in KEYS}
LIFE = dict.fromkeys(KEYS, 60.0)


def commands(server: RedisServer) -> dict[str, int]:
    with server.client() as client:
        return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in client.info("commandstats").items()}


async def filled(server: RedisServer) -> RedisStore:
    server.empty()
    store = connect(server.url)
    await store.put_many(VALUES, LIFE)
    return store


async def ended_by_redis(server: RedisServer) -> None:
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


async def test_many_reads_at_once_are_answered_each_with_its_own_over_one_connection(redis_server: RedisServer) -> None:
    store = await filled(redis_server)
    with redis_server.client() as client:
        before = client.info("stats")["total_connections_received"]
        asked = [KEYS[number : number + 50] for number in range(150)]
        found = await asyncio.gather(*map(store.get_many, asked))
        assert client.info("stats")["total_connections_received"] == before + 1
    assert found == [[VALUES[key] for key in keys] for keys in asked]
    await store.aclose()


async def test_a_caller_that_leaves_takes_nobodys_reply_with_it(redis_server: RedisServer) -> None:
    store = await filled(redis_server)
    leaving = [asyncio.create_task(store.get_many(KEYS[:1])) for _ in range(10)]
    staying = [asyncio.create_task(store.get_many([key])) for key in KEYS[:5]]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    assert await asyncio.gather(*staying) == [[VALUES[key]] for key in KEYS[:5]]
    assert all(
        isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*leaving, return_exceptions=True)
    )
    await store.aclose()


async def test_values_that_others_made_huge_are_left_out_and_cost_nobody_a_read(redis_server: RedisServer) -> None:
    store = await filled(redis_server)
    with redis_server.client() as client:
        client.set(KEYS[3], b"x" * (2 * MOST_REPLY_BYTES))
    found = await asyncio.gather(*(store.get_many(KEYS[:50]) for _ in range(4)), store.get_many(KEYS[50:60]))
    assert found == [[b"" if key == KEYS[3] else VALUES[key] for key in KEYS[:50]]] * 4 + [
        [VALUES[key] for key in KEYS[50:60]]
    ]
    await store.aclose()


async def test_a_connection_that_redis_ended_is_opened_anew(redis_server: RedisServer) -> None:
    store = await filled(redis_server)
    assert await store.get_many(KEYS[:1]) == [VALUES[KEYS[0]]]
    await ended_by_redis(redis_server)
    async with asyncio.timeout(10):
        while True:
            try:
                assert await store.get_many(KEYS[:1]) == [VALUES[KEYS[0]]]
                break
            except StoreUnavailable:  # this very read was on its way
                await asyncio.sleep(0)
    await store.aclose()


async def test_a_server_that_hangs_costs_a_read_its_time_and_the_next_has_a_new_connection(
    redis_server: RedisServer,
) -> None:
    store = await filled(redis_server)
    await store.get_many(KEYS[:1])
    redis_server.hang()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.get_many(KEYS[:1])
    redis_server.resume()
    assert await store.get_many(KEYS[:2]) == [VALUES[key] for key in KEYS[:2]]
    await store.aclose()


async def test_a_user_without_the_right_to_mget_is_served_by_the_script(redis_server: RedisServer) -> None:
    await (await filled(redis_server)).aclose()
    with redis_server.client() as client:
        client.acl_setuser(
            "luma", enabled=True, passwords=["+secret"], keys=["*"], channels=["*"],
            categories=["+@all"], commands=["-mget"],
        )  # fmt: skip
    store = connect(redis_server.url.replace("redis://", "redis://luma:secret@"))
    for _ in range(3):
        assert await store.get_many(KEYS[:2]) == [VALUES[key] for key in KEYS[:2]]
    called = commands(redis_server)
    assert called["eval"] >= 3
    await store.aclose()
    with redis_server.client() as client:
        client.acl_deluser("luma")
