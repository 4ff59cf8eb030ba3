"""Sends reads that begin together to Redis together.

Under load, several calls are handled in each iteration of the event loop. For all of them, a pipeline takes redis-py
half of the time that a command for each would take, and one connection.
"""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from redis.asyncio.client import Redis

from app.adapters.redis.connection import RedisConnection, values_in
from app.adapters.redis.wire import ReplyLimit

Values = list[bytes | None]


class BatchedReads:
    """Reads values from a Redis that is not a Cluster. The pipelines of a Cluster may not contain MGET."""

    def __init__(self, client: Redis, connection: RedisConnection) -> None:
        """Use `client` through `connection`, whose owner closes both."""
        self._client = client
        self._connection = connection
        self._next: _Pipeline | None = None
        """The pipeline that is sent in the next iteration of the event loop."""

    async def get_many(self, tenant: str, keys: Sequence[str]) -> Values:
        """Return the value of each key, with one MGET: None if the key does not exist or holds no string.

        A read keeps its place in the connection's queue until its pipeline ends, even if its caller leaves: the MGET is
        under way until then. A pipeline that all of its callers have left is cancelled. Raises StoreUnavailable.
        """
        queue = self._connection.queue
        accepted = await queue.take(tenant)
        pipeline = self._next
        if pipeline is None or not pipeline.waiting:
            pipeline = self._next = _Pipeline()
            # The context is empty, because the pipeline belongs to all of its callers.
            pipeline.task = asyncio.get_running_loop().create_task(self._send(pipeline), context=Context())
            pipeline.task.add_done_callback(_retrieve_exception)
        pipeline.task.add_done_callback(lambda _task: queue.give_back(tenant, accepted=accepted))
        pipeline.reads.append(keys)
        index = len(pipeline.reads) - 1
        pipeline.waiting += 1
        try:
            return (await asyncio.shield(pipeline.task))[index]
        finally:
            pipeline.waiting -= 1
            if not pipeline.waiting:
                pipeline.task.cancel()  # without effect if it has ended

    async def _send(self, pipeline: "_Pipeline") -> list[Values]:
        self._next = None
        async with self._connection.attempt(limit=ReplyLimit(sum(map(len, pipeline.reads)))):
            commands: Any = self._client.pipeline(transaction=False)
            for keys in pipeline.reads:
                commands.mget(keys)
            replies = await commands.execute()
            return [values_in(reply, len(keys)) for keys, reply in zip(pipeline.reads, replies, strict=True)]


def _retrieve_exception(task: "asyncio.Task[list[Values]]") -> None:
    """Keep asyncio from logging the failure of a pipeline that all of its callers have left."""
    if not task.cancelled():
        task.exception()


class _Pipeline:
    """Reads that are sent together, the task that sends them, and how many callers wait for it."""

    __slots__ = ("reads", "task", "waiting")

    def __init__(self) -> None:
        self.reads: list[Sequence[str]] = []
        self.waiting = 0
        self.task: asyncio.Task[list[Values]]
