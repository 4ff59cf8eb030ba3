"""The store that replicas share: a single Redis, behind Sentinel, or a Cluster."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.adapters.redis.bounded_parser import BoundedParser
from app.adapters.redis.command_queue import CONNECTIONS
from app.adapters.redis.connection import TIMEOUT_SECONDS, RedisConnection
from app.adapters.redis.url import check_redis_url, refusal
from app.services.key_namespace import tenant_in
from app.services.tasks.signed_values import LARGEST_BYTES

SPARE_CONNECTIONS = 4
"""Beyond the places for operations: the channel has one, and a pool that has run out would look like an outage."""


class RedisStore:
    """A Store over a Redis client; faults and slowness alike are StoreUnavailable."""

    def __init__(self, client: "Redis | RedisCluster", *, watchers: Sequence[Redis] = ()) -> None:
        """Own `client` and the Sentinels behind it from now on: `aclose` closes them."""
        self.client = client
        self.link = RedisConnection(client)
        self._watchers = watchers

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value per key, in one step; b"" stands for what is too large to be ours."""
        async with self.link.in_time(_tenant_of(keys)):
            return await self.link.get_many(keys, LARGEST_BYTES)

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Keep each value for its time, with one pipeline of SET PX."""
        async with self.link.in_time(_tenant_of(values)):
            pipeline: Any = self.client.pipeline(transaction=False)
            for key, value in values.items():
                pipeline.set(key, value, px=max(1, int(ttl_seconds[key] * 1000)))
            await pipeline.execute()

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Forget the keys, with one UNLINK."""
        if keys:
            async with self.link.in_time(_tenant_of(keys)):
                await self.client.unlink(*keys)

    async def ping(self) -> None:
        """Return if Redis answers."""
        async with self.link.in_time():
            await self.client.ping()

    async def __aenter__(self) -> Self:
        """Lend the store; it connects with its first call."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close every connection."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.link.aclose()
        for watcher in self._watchers:
            await watcher.aclose()


def _tenant_of(keys: Iterable[str]) -> str:
    """Return whose the keys are; they share one tenant."""
    return tenant_in(next(iter(keys), ""))


def connect(url: str) -> RedisStore:
    """Return a store for `url`, one of `redis_url.URL_FORMS`, without connecting yet.

    Raises ValueError, without the URL in it, where it is of none of these forms.
    """
    try:
        check_redis_url(url)
        return _store(url)
    except (ValueError, TypeError, RedisError):  # their words may quote the URL, and so its password
        raise ValueError(refusal(url)) from None


def _store(url: str) -> RedisStore:
    scheme = urlsplit(url).scheme
    tls = scheme.startswith("rediss")
    if scheme in ("redis+sentinel", "rediss+sentinel"):
        return _behind_sentinel(url, tls=tls)
    if scheme in ("redis+cluster", "rediss+cluster"):
        return RedisStore(_cluster(url, tls=tls))
    most = CONNECTIONS + SPARE_CONNECTIONS
    pool = BlockingConnectionPool.from_url(url, max_connections=most, timeout=TIMEOUT_SECONDS, **_timeouts())
    return RedisStore(_checked(Redis.from_pool(pool)))


def _timeouts() -> dict[str, Any]:
    """Return the options of every connection; those in the URL prevail.

    RESP2 does all that is needed here. Old servers and some proxies do not know HELLO, with which RESP3 begins.
    """
    return {
        "protocol": 2,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "socket_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }


def _checked(client: Redis) -> Redis:
    """Return `client`, with bounded replies.

    Raises TypeError now, and not at the first use, where no connection takes its options.
    """
    client.connection_pool.connection_kwargs["parser_class"] = BoundedParser
    client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return client


def _behind_sentinel(url: str, *, tls: bool) -> RedisStore:
    hosts, path, options = _parts(url)
    service, _, database = path.partition("/")
    if not service:
        raise ValueError
    asked = {key: options.pop(key) for key in list(options) if key.startswith("sentinel_")}
    sentinel_options = _timeouts() | {key.removeprefix("sentinel_"): value for key, value in asked.items()}
    sentinel: Any = Sentinel(hosts, sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(service, **_timeouts() | {"db": int(database or 0), "ssl": tls} | options)
    return RedisStore(_checked(client), watchers=[_checked(watcher) for watcher in sentinel.sentinels])


def _cluster(url: str, *, tls: bool) -> RedisCluster:
    from redis.asyncio.cluster import ClusterNode  # noqa: PLC0415 - only a Cluster needs it

    hosts, path, options = _parts(url)
    if path not in ("", "0") or options.get("db"):
        raise ValueError  # a Cluster has no databases to choose from
    nodes = [ClusterNode(host, port) for host, port in hosts]
    cluster = RedisCluster(startup_nodes=nodes, **_timeouts() | {"ssl": tls} | options)
    known = [node.connection_kwargs for node in cluster.nodes_manager.startup_nodes.values()]
    for connection_options in (cluster.get_connection_kwargs(), *known):
        connection_options["parser_class"] = BoundedParser
    return cluster


def _parts(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Take apart a URL with several hosts: the hosts, the path, and the options with user name and password."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    named = [urlsplit(f"redis://{host}") for host in hosts.split(",") if host]
    if not named:
        raise ValueError
    options: dict[str, Any] = {**parse_url(urlunsplit(("redis", f"{credentials}@", "", parts.query, "")))}
    default_port = 26379 if "sentinel" in parts.scheme else 6379
    return [(host.hostname or "localhost", host.port or default_port) for host in named], parts.path.strip("/"), options
