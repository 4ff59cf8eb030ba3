"""One Redis for each kind of URL that the service accepts: TCP, Unix socket, Sentinel and Cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import quote

from app.adapters.redis.store import RedisStore, connect
from tests.support.redis_server import RedisClusterNode, RedisSentinel, RedisServer, free_port

PASSWORD = "p@ss/w:rd#1%"

PATIENT_SECONDS = 10.0
"""A timeout of operations for tests of what Redis answers, which may run on a loaded machine."""


@contextmanager
def redis_forms() -> Iterator[dict[str, str]]:
    """Run the servers until the block ends; yield a URL by kind: redis, unix, sentinel and cluster.

    All URLs carry PASSWORD. In the Sentinel and Cluster URLs nothing listens at the first of the two addresses.
    """
    master, cluster = RedisServer(password=PASSWORD), RedisClusterNode(password=PASSWORD)
    sentinel = RedisSentinel(master)
    with ExitStack() as stack:
        for server in (master, sentinel, cluster):
            stack.enter_context(closing(server)).start()
        secret = quote(PASSWORD, safe="")
        yield {
            "redis": f"redis://:{secret}@127.0.0.1:{master.port}/0",
            "unix": f"unix://:{secret}@{master.folder}/redis.sock?db=1",
            "sentinel": f"redis+sentinel://:{secret}@127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/luma/2",
            "cluster": f"redis+cluster://:{secret}@127.0.0.1:{free_port()},127.0.0.1:{cluster.port}",
        }


async def connected(url: str) -> RedisStore:
    """Return a store that has connected, and whose operations may take PATIENT_SECONDS."""
    store = connect(url, PATIENT_SECONDS)
    await store.ping()
    return store
