"""The store that replicas share: Redis, alone, behind Sentinel or as a Cluster."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit, urlunsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.ports import StoreUnavailable

TIMEOUT_SECONDS = 0.4
"""The longest that any operation may take: two of them, a read and a write, must cost a call under one second."""

CONNECTIONS = 32

URL_FORMS = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///run/redis.sock, "
    "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379,host:6379 "
    "(rediss+sentinel and rediss+cluster with TLS)"
)


class RedisStore:
    """A Store over a Redis client; faults and slowness alike are StoreUnavailable."""

    def __init__(self, client: "Redis | RedisCluster") -> None:
        """Own `client` from now on: `aclose` closes it."""
        self._client = client

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value per key, with one MGET."""
        async with _in_time():
            return cast("list[bytes | None]", await self._client.mget(keys))

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Keep each value for its time, with one pipeline of SET PX."""
        async with _in_time():
            pipeline: Any = self._client.pipeline(transaction=False)
            for key, value in values.items():
                pipeline.set(key, value, px=max(1, int(ttl_seconds[key] * 1000)))
            await pipeline.execute()

    async def ping(self) -> None:
        """Return if Redis answers."""
        async with _in_time():
            await self._client.ping()

    async def aclose(self) -> None:
        """Close the client's connections."""
        await self._client.aclose()


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield
    except (RedisError, OSError, TimeoutError) as fault:
        raise StoreUnavailable(type(fault).__name__) from fault


def connect(url: str) -> RedisStore:
    """Return a store for `url`, one of URL_FORMS, without connecting yet.

    Raises ValueError, without the URL in it, where it is of none of these forms.
    """
    scheme = urlsplit(url).scheme
    tls = scheme.startswith("rediss")
    if scheme.endswith("+sentinel"):
        return RedisStore(_behind_sentinel(url, tls=tls))
    if scheme.endswith("+cluster"):
        return RedisStore(_cluster(url, tls=tls))
    if scheme in ("redis", "rediss", "unix"):
        return RedisStore(Redis.from_pool(BlockingConnectionPool.from_url(url, **_pool_options(), **_patience())))
    raise ValueError(f"is none of {URL_FORMS}")


def _patience() -> dict[str, Any]:
    return {
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "socket_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }


def _pool_options() -> dict[str, Any]:
    return {"max_connections": CONNECTIONS, "timeout": TIMEOUT_SECONDS}


def _behind_sentinel(url: str, *, tls: bool) -> Redis:
    hosts, path, options = _parts(url)
    service, _, database = path.partition("/")
    if not service:
        raise ValueError("names no Sentinel service: redis+sentinel://host:26379/SERVICE")
    sentinel_options = {key.removeprefix("sentinel_"): options.pop(key) for key in list(options) if "sentinel_" in key}
    sentinel: Any = Sentinel(hosts, sentinel_kwargs={**_patience(), **sentinel_options})  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(service, db=int(database or 0), ssl=tls, **_patience(), **options)
    return client


def _cluster(url: str, *, tls: bool) -> RedisCluster:
    from redis.asyncio.cluster import ClusterNode  # noqa: PLC0415 - only a Cluster needs it

    hosts, _, options = _parts(url)
    nodes = [ClusterNode(host, port) for host, port in hosts]
    return RedisCluster(startup_nodes=nodes, ssl=tls, max_connections=CONNECTIONS, **_patience(), **options)


def _parts(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Take apart a URL with several hosts: the hosts, the path, and user name and password where given."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    options: dict[str, Any] = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    options |= {key: value for key, value in (("username", username), ("password", password)) if value}
    named = [urlsplit(urlunsplit(("redis", host, "", "", ""))) for host in hosts.split(",") if host]
    if not named:
        raise ValueError("names no host")
    default_port = 26379 if "sentinel" in parts.scheme else 6379
    return [(host.hostname or "localhost", host.port or default_port) for host in named], parts.path.strip("/"), options
