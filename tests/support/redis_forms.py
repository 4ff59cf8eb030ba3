"""Redis in every form that a URL can name: alone, over a Unix socket, behind Sentinel, as a Cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import quote

from tests.support.redis_server import RedisClusterNode, RedisSentinel, RedisServer, free_port

PASSWORD = "p@ss/w:rd#1%"


@contextmanager
def redis_forms() -> Iterator[dict[str, str]]:
    """Run a Redis in every form and lend a URL of each; all want a password."""
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
