"""The cache store that replicas share, in a single Redis, a Redis behind Sentinel, or a Redis Cluster."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio.client import Redis
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError

from app.adapters.redis.batched_reads import BatchedReads
from app.adapters.redis.command_queue import CONNECTIONS
from app.adapters.redis.connection import TIMEOUT_SECONDS, RedisConnection, values_in
from app.adapters.redis.url import check_redis_url, invalid_url_reason
from app.adapters.redis.wire import ReplyLimit, configure_cluster, configure_pool
from app.services.key_namespace import tenant_in
from app.services.tasks.sealed_values import MAX_BYTES

if TYPE_CHECKING:
    from redis.asyncio.cluster import RedisCluster

SPARE_CONNECTIONS = 4
"""Connections of the pool beyond those for operations.

The subscription to events uses one. The other three are a margin, because an exhausted pool raises the same errors as
an outage.
"""


class RedisStore:
    """A Store in Redis. Failures and timeouts raise StoreUnavailable or a subclass of it."""

    def __init__(
        self,
        client: "Redis | RedisCluster",
        *,
        sentinels: Sequence[Redis] = (),
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Own `client` and the clients of its Sentinels, all of which `aclose` closes.

        Each operation may take `timeout_seconds`.
        """
        self.client = client
        self.connection = RedisConnection(client, timeout_seconds)
        self._sentinels = sentinels
        self._reads = BatchedReads(client, self.connection) if isinstance(client, Redis) else None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, with one MGET.

        A value is None if the key does not exist or holds no string, and b"" if the string is larger than MAX_BYTES.
        Raises StoreOverfull if the values together are larger than ReplyLimit allows. Only other programs store
        values that large.
        """
        if not keys:
            return []
        values = await self._mget(keys)
        return [value if value is None or len(value) <= MAX_BYTES else b"" for value in values]

    async def _mget(self, keys: Sequence[str]) -> list[bytes | None]:
        tenant = _tenant_of(keys)
        if self._reads is None:
            async with self.connection.operation(tenant, limit=ReplyLimit(len(keys))):
                return values_in(await self.client.mget(keys), len(keys))
        return await self._reads.get_many(tenant, keys)

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Store each value with its time to live, in one pipeline of SET PX."""
        async with self.connection.operation(_tenant_of(values)):
            pipeline: Any = self.client.pipeline(transaction=False)
            for key, value in values.items():
                pipeline.set(key, value, px=max(1, int(ttl_seconds[key] * 1000)))
            if any(reply is not True for reply in await pipeline.execute()):
                raise InvalidResponse("SET was not answered with OK")

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the keys with one UNLINK."""
        if keys:
            async with self.connection.operation(_tenant_of(keys)):
                await self.client.unlink(*keys)

    async def ping(self) -> None:
        """Send PING. Raises StoreUnavailable if Redis does not answer."""
        async with self.connection.operation():
            await self.client.ping()

    async def __aenter__(self) -> Self:
        """Return the store. It connects with its first operation."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close every connection."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.connection.aclose()
        for sentinel in self._sentinels:
            await sentinel.aclose()


def _tenant_of(keys: Iterable[str]) -> str:
    """Return the tenant of the first key. All keys of an operation have the same tenant."""
    return tenant_in(next(iter(keys), ""))


def connect(url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> RedisStore:
    """Return a store for `url`, without connecting yet. Connecting and each operation may take `timeout_seconds`.

    Raises ValueError unless the URL has one of the forms `url.URL_FORMS`, with known options. The message completes a
    sentence that begins with the URL, and quotes no part of the URL.
    """
    try:
        check_redis_url(url)
        client, sentinels = _clients_for(url, _default_connection_options(timeout_seconds))
    except (ValueError, TypeError, RedisError):  # their messages may contain the URL, and so its password
        raise ValueError(invalid_url_reason(url)) from None
    return RedisStore(client, sentinels=sentinels, timeout_seconds=timeout_seconds)


def _clients_for(url: str, defaults: dict[str, Any]) -> "tuple[Redis | RedisCluster, list[Redis]]":
    """Return the client for `url`, and the clients of its Sentinels. `defaults` are the default connection options."""
    scheme = urlsplit(url).scheme
    tls = scheme.startswith("rediss")
    if scheme in ("redis+sentinel", "rediss+sentinel"):
        return _sentinel_clients(url, defaults, tls=tls)
    if scheme in ("redis+cluster", "rediss+cluster"):
        return _cluster_client(url, defaults, tls=tls), []
    limit = CONNECTIONS + SPARE_CONNECTIONS
    pool = ConnectionPool.from_url(url, max_connections=limit, **defaults)
    return _configured(Redis.from_pool(pool)), []


def _default_connection_options(timeout_seconds: float) -> dict[str, Any]:
    """Return the default options of every connection. Options in the URL override them.

    The protocol is RESP2, which is sufficient here. RESP3 needs the command HELLO, which old servers and some
    proxies do not support.
    """
    return {
        "protocol": 2,
        "socket_connect_timeout": timeout_seconds,
        "socket_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
    }


def _configured(client: Redis) -> Redis:
    """Configure the pool of `client` for the connections of `wire`, and return the same client.

    Raises TypeError for invalid connection options, which would otherwise fail at the first use.
    """
    configure_pool(client.connection_pool)
    client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return client


def _sentinel_clients(url: str, defaults: dict[str, Any], *, tls: bool) -> tuple[Redis, list[Redis]]:
    hosts, path, options = _parse_multi_host(url)
    service, _, database = path.partition("/")
    if not service:
        raise ValueError
    url_options = {key: options.pop(key) for key in list(options) if key.startswith("sentinel_")}
    sentinel_options = defaults | {key.removeprefix("sentinel_"): value for key, value in url_options.items()}
    sentinel: Any = Sentinel(hosts, sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(service, **defaults | {"db": int(database or 0), "ssl": tls} | options)
    return _configured(client), list(map(_configured, sentinel.sentinels))


def _cluster_client(url: str, defaults: dict[str, Any], *, tls: bool) -> "RedisCluster":
    from redis.asyncio.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - only a Cluster needs them

    hosts, path, options = _parse_multi_host(url)
    if path not in ("", "0") or options.get("db"):
        raise ValueError  # a Cluster has a single database
    nodes = [ClusterNode(host, port) for host, port in hosts]
    cluster = RedisCluster(startup_nodes=nodes, **defaults | {"ssl": tls} | options)
    configure_cluster(cluster)
    return cluster


def _parse_multi_host(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Parse a URL with several hosts. Return the hosts with ports, the path, and the options with the credentials.

    Raises ValueError for a URL without a host.
    """
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    host_urls = [urlsplit(f"redis://{host}") for host in hosts.split(",") if host]
    if not host_urls:
        raise ValueError
    options: dict[str, Any] = {**parse_url(urlunsplit(("redis", f"{credentials}@", "", parts.query, "")))}
    default_port = 26379 if "sentinel" in parts.scheme else 6379
    nodes = [(host.hostname or "localhost", host.port or default_port) for host in host_urls]
    return nodes, parts.path.strip("/"), options
