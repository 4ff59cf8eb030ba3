"""The topology of a Redis Cluster, which is read anew after failures.

redis-py reads it anew when a node refuses a connection or its own timeout expires. An operation of this service has a
timeout that expires first, and redis-py learns nothing from a cancellation. Without the read in the background, a
master whose host is lost would be asked for ever, even though its replica has taken over.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio.cluster import RedisCluster

REFRESH_INTERVAL_SECONDS = 1.0
"""Shortest time between the beginnings of two reads."""

REFRESH_SECONDS = 5.0
"""Timeout of a read. Nodes are asked one after another until one answers; one that hangs takes a socket timeout."""

log = logging.getLogger(__name__)


class ClusterTopology:
    """Reads the topology of a Cluster in the background, one read at a time."""

    def __init__(self, cluster: "RedisCluster") -> None:
        """Update `cluster`, whose operations may go on meanwhile. It must not have connected yet."""
        self._cluster = cluster
        self._named_nodes = dict(cluster.nodes_manager.startup_nodes)  # by name; those of the URL
        self._reading: asyncio.Task[None] | None = None
        self._next_read_at = 0.0

    def refresh(self) -> None:
        """Begin a read, unless one is under way or has begun less than REFRESH_INTERVAL_SECONDS ago."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._next_read_at or (self._reading is not None and not self._reading.done()):
            return
        self._next_read_at = loop.time() + REFRESH_INTERVAL_SECONDS
        self._reading = loop.create_task(self._read())

    async def aclose(self) -> None:
        """End the read that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                await self._cluster.initialize()  # has no effect after the first success
                nodes = self._cluster.nodes_manager
                # After a success, redis-py asks only the nodes that it has found. They may all be lost.
                nodes.startup_nodes = {**self._named_nodes, **nodes.startup_nodes}
                await nodes.initialize()
        except Exception as exc:  # noqa: BLE001 - the next failed operation begins another read
            log.debug("The nodes of the Redis Cluster could not be read (%s)", type(exc).__name__)
