"""Redis. Modules import from redis-py's modules, and its Cluster client only for a Cluster: see deferred_packages."""

from app.deferred_packages import defer

defer("redis", "redis.asyncio")
