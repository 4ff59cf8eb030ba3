"""A failover of a Redis Cluster: a replica takes over from a master whose host is lost, or whose process has ended."""

from collections.abc import Callable, Iterator

import pytest

from app.adapters.redis.coordination import RedisCoordination
from app.adapters.redis.store import RedisStore, connect
from app.ports.coordination import EventKind
from app.ports.store import StoreUnavailable
from tests.support.eventually import eventually
from tests.support.keeping import CHANNEL, SIGNER
from tests.support.redis_server import RedisClusterNode, RedisClusterReplica

KEY = "{tenant-a}:key"

Lose = Callable[[RedisClusterNode], None]


@pytest.fixture
def servers() -> Iterator[tuple[RedisClusterNode, RedisClusterReplica]]:
    master = RedisClusterNode()
    pair = master, RedisClusterReplica(master)
    for server in pair:
        server.start()
    yield pair
    for server in pair:
        server.close()


def connected(servers: tuple[RedisClusterNode, RedisClusterReplica]) -> RedisStore:
    return connect("redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers))


@pytest.mark.parametrize("lose", [RedisClusterNode.hang, RedisClusterNode.stop])
async def test_operations_and_events_go_to_the_replica_that_takes_over(
    servers: tuple[RedisClusterNode, RedisClusterReplica], lose: Lose
) -> None:
    master, replica = servers
    heard: list[bytes] = []

    async def works() -> bool:
        try:
            await store.put_many({KEY: b"x"}, {KEY: 60.0})
            await speaker.publish(EventKind.PROBE, b"hello")
            return await store.get_many([KEY]) == [b"x"]
        except StoreUnavailable:
            return False

    async def hears() -> bool:
        return await works() and bool(heard)

    async with connected(servers) as store, connected(servers) as other:
        speaker = RedisCoordination(store.connection, SIGNER, CHANNEL)
        async with RedisCoordination(other.connection, SIGNER, CHANNEL) as listener:  # it has no operations that fail
            listener.subscribe(EventKind.PROBE, heard.append)
            await eventually(hears)
            lose(master)
            assert not await works()
            replica.take_over()
            await eventually(works)
            heard.clear()
            await eventually(hears)
