"""A failover of Redis behind a single address, while the old master keeps running as a replica."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from app.adapters.redis.command_queue import CONNECTIONS
from app.adapters.redis.connection import NOT_SERVING
from app.adapters.redis.coordination import RedisCoordination
from app.adapters.redis.store import connect
from app.ports.store import StoreRefuses, StoreUnavailable
from tests.support.clock import HandClock
from tests.support.forwarder import Forwarder, forwarding
from tests.support.hostile_redis import always, server_replying
from tests.support.keeping import CHANNEL, SIGNER, until_heard
from tests.support.redis_server import RedisServer
from tests.support.service import sandbox, serving, settings

KEY = "{tenant-a}:key"
KEYED = {"prompt": "A fox", "idempotency_key": "fox-1"}


@pytest.fixture
def servers() -> Iterator[tuple[RedisServer, RedisServer]]:
    pair = RedisServer(), RedisServer()
    for server in pair:
        server.start()
    yield pair
    for server in pair:
        server.close()


@pytest.fixture
async def address(servers: tuple[RedisServer, RedisServer]) -> AsyncIterator[Forwarder]:
    async with forwarding(servers[0].port) as forwarder:
        yield forwarder


def fail_over(servers: tuple[RedisServer, RedisServer], address: Forwarder) -> None:
    """Make the second server the master behind the address, and the first one its replica."""
    old, new = servers
    address.target = new.port
    with old.client() as client:
        client.replicaof("127.0.0.1", str(new.port))


async def test_every_connection_is_reopened_after_a_failover(
    servers: tuple[RedisServer, RedisServer], address: Forwarder, caplog: pytest.LogCaptureFixture
) -> None:
    store = connect(f"redis://127.0.0.1:{address.port}/0")
    await asyncio.gather(*(store.ping() for _ in range(CONNECTIONS)))
    warm = address.connections
    assert warm > 1
    fail_over(servers, address)
    with caplog.at_level(logging.WARNING, logger="app"), pytest.raises(StoreRefuses, match=r"^READONLY$"):
        await store.put_many({KEY: b"x"}, {KEY: 60.0})
    writes = (store.put_many({f"{KEY}{number}": b"x"}, {f"{KEY}{number}": 60.0}) for number in range(CONNECTIONS))
    await asyncio.gather(*writes)
    assert await store.get_many([f"{KEY}0"]) == [b"x"], "reads too are those of the new master"
    assert len(caplog.records) == 1
    assert "Redis answered READONLY" in caplog.text
    await store.aclose()
    with servers[1].client() as client:
        assert client.dbsize() == CONNECTIONS


async def test_scripts_and_single_commands_detect_a_failover(
    servers: tuple[RedisServer, RedisServer], address: Forwarder
) -> None:
    store = connect(f"redis://127.0.0.1:{address.port}/0")
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL)
    assert await coordination.put_if_absent(KEY, b"mine", 60) is None
    fail_over(servers, address)
    with pytest.raises(StoreRefuses):
        await coordination.replace(KEY, b"mine", b"other", 60)
    assert await coordination.put_if_absent(KEY, b"mine", 60) is None, "the new master takes it"
    await store.aclose()


async def test_the_channel_follows_a_failover(servers: tuple[RedisServer, RedisServer], address: Forwarder) -> None:
    store = connect(f"redis://127.0.0.1:{address.port}/0")
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL)
    coordination.start()
    await until_heard(coordination, coordination)
    fail_over(servers, address)
    with pytest.raises(StoreRefuses):
        await coordination.put_if_absent(KEY, b"mine", 60)
    with servers[0].client() as old, servers[1].client() as new:
        old.replicaof("NO", "ONE")  # from here on it hears nothing from the new one
        async with asyncio.timeout(20):
            while not (listeners := new.pubsub_numsub(CHANNEL)[0][1]):
                await asyncio.sleep(0.01)
    assert listeners == 1
    await coordination.aclose()
    await store.aclose()


async def test_connections_are_reopened_if_the_server_has_too_few_replicas(fragile_redis: RedisServer) -> None:
    store = connect(fragile_redis.url)
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL)
    await coordination.put_if_absent(KEY, b"mine", 60)
    with fragile_redis.client() as client:
        client.config_set("min-replicas-to-write", "1")
        connected = client.info("stats")["total_connections_received"]
        for writing in (store.put_many({KEY: b"x"}, {KEY: 60.0}), coordination.replace(KEY, b"mine", b"other", 60)):
            with pytest.raises(StoreRefuses, match=r"^NOREPLICAS$"):
                await writing
        assert await store.get_many([KEY]) == [b"mine"]
        assert client.info("stats")["total_connections_received"] > connected
    await store.aclose()


async def test_connections_are_reopened_if_a_replica_has_lost_its_master(fragile_redis: RedisServer) -> None:
    store = connect(fragile_redis.url)
    await store.ping()
    with fragile_redis.client() as client:
        client.config_set("replica-serve-stale-data", "no")
        client.replicaof("127.0.0.1", "1")
        connected = client.info("stats")["total_connections_received"]
        for _ in range(2):
            with pytest.raises(StoreRefuses, match=r"^MASTERDOWN$"):
                await store.get_many([KEY])
        assert client.info("stats")["total_connections_received"] > connected
    await store.aclose()


@pytest.mark.parametrize("code", sorted(NOT_SERVING))
async def test_a_server_that_cannot_serve_is_left_at_once(
    code: str, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The address leads to a server that answers each command with `code`, and afterwards to one that serves."""
    async with server_replying(always(f"-{code} 1 127.0.0.1:1\r\n".encode())) as refusing:
        port = urlsplit(refusing).port
        assert port is not None
        async with forwarding(port) as address, connect(f"redis://127.0.0.1:{address.port}/0?protocol=2") as store:
            with caplog.at_level(logging.WARNING, logger="app"), pytest.raises(StoreUnavailable, match=rf"^{code}$"):
                await store.put_many({KEY: b"x"}, {KEY: 60.0})
            address.target = redis_server.port
            await store.put_many({KEY: b"x"}, {KEY: 60.0})
            assert await store.get_many([KEY]) == [b"x"]
    assert [f"Redis answered {code}" in record.getMessage() for record in caplog.records] == [True]


async def test_a_full_redis_keeps_its_connections(fragile_redis: RedisServer) -> None:
    store = connect(fragile_redis.url)
    await store.ping()
    with fragile_redis.client() as client:
        client.config_set("maxmemory", "1")
        connected = client.info("stats")["total_connections_received"]
        for _ in range(3):
            with pytest.raises(StoreRefuses, match=r"^OOM$"):
                await store.put_many({KEY: b"x"}, {KEY: 60.0})
        assert client.info("stats")["total_connections_received"] == connected
    await store.aclose()


async def test_a_keyed_call_buys_at_the_latest_with_its_retry(
    servers: tuple[RedisServer, RedisServer], address: Forwarder, clock: HandClock
) -> None:
    backend = sandbox(clock)
    async with serving(settings(redis_url=f"redis://127.0.0.1:{address.port}/0"), backend, clock) as service:
        await service.ask("luma_generate_video", {"prompt": "A fox", "idempotency_key": "warm"})
        fail_over(servers, address)
        first = await service.call("luma_generate_video", KEYED)
        again = await service.ask("luma_generate_video", KEYED)
    assert again.get("replayed", False) is not first["isError"]
    assert backend.submissions("token-a") == 2


async def test_a_redis_that_accepts_no_writes_does_not_prevent_a_keyed_purchase(
    fragile_redis: RedisServer, clock: HandClock
) -> None:
    backend = sandbox(clock)
    async with serving(settings(redis_url=fragile_redis.url), backend, clock) as service:
        with fragile_redis.client() as client:
            client.replicaof("127.0.0.1", "1")
            assert (await service.ask("luma_generate_video", KEYED))["state"] == "pending"
            assert (await service.ask("luma_generate_video", KEYED))["replayed"] is True
            client.replicaof("NO", "ONE")
        assert (await service.ask("luma_generate_video", KEYED))["replayed"] is True
    assert backend.submissions("token-a") == 1
