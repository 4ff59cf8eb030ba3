"""Coordination of replicas through Redis."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from redis.asyncio import ConnectionPool, Redis, RedisCluster

from app.adapters.redis.connection import RedisConnection, value_in, values_in
from app.adapters.redis.scripts import CLAIM, MEMBERS, REMOVE, REPLACE
from app.ports.coordination import EventKind
from app.ports.sealing import Signer
from app.ports.store import StoreUnavailable
from app.services.key_namespace import tenant_in
from app.services.tasks.signed_values import LARGEST_BYTES

MOST_MEMBERS = 1_000
LARGEST_MESSAGE_BYTES = 1024 * 1024
"""More than ten thousand ids: what one read of a watcher has to say stays far below."""
RECONNECT_SECONDS = 0.5
READ_SECONDS = 1.0
MOST_SILENCES = 3
"""How often in a row the channel may have nothing to say, not even that it is there; then it is taken for dead.

Keepalive does not see it: a proxy on the way answers that for a connection which leads nowhere any more.
"""

LARGEST_MEMBER_BYTES = 512
"""Members above this size are not read. Those of this service have at most 144 bytes."""

FURTHEST_AHEAD = 2.0
"""How many times its own time a member of a set may have left: more than any clock of ours gave it is not ours."""

log = logging.getLogger(__name__)


LONGEST_SEARCH_SECONDS = 20.0


class RedisCoordination:
    """The Coordination of replicas: keys with SET NX, sets as sorted sets by expiry, messages by pub/sub."""

    def __init__(
        self, link: RedisConnection, signing: Signer, channel: str, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Speak through `link`, which somebody else closes; `wall_clock` gives unix seconds.

        Messages on `channel` and members of sets are signed with `signing`: others may write there, and go unheard.
        """
        self._link = link
        self._signing = signing
        self._channel = channel
        self._client: Any = link.client
        self._wall_clock = wall_clock
        self._listeners: dict[object, tuple[EventKind, Callable[[bytes], None]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._closing = False

    async def get(self, key: str) -> bytes | None:
        """Return what is there, or None; b"" stands for what is too large to be ours."""
        async with self._link.in_time(tenant_in(key), may_be_denied=True):
            (there,) = await self._link.get_many([key], LARGEST_BYTES)
            return there

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        """Put `value` where there is none and return None; else return what is there, as `get` does."""
        async with self._link.in_time(tenant_in(key)):
            there = await self._client.eval(CLAIM, 1, key, value, _milliseconds(ttl_seconds), LARGEST_BYTES)
            return value_in(there)

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        """Put `value` in the place of `expected`, and return whether that was still there."""
        async with self._link.in_time(tenant_in(key)):
            return bool(await self._client.eval(REPLACE, 1, key, expected, value, _milliseconds(ttl_seconds)))

    async def remove(self, key: str, expected: bytes) -> None:
        """Remove the key if it still holds `expected`."""
        async with self._link.in_time(tenant_in(key)):
            await self._client.eval(REMOVE, 1, key, expected)

    async def any_key(self, pattern: str) -> bool:
        """Return whether a key matches `pattern`, after as many round trips as there are thousands of keys."""
        try:
            async with asyncio.timeout(LONGEST_SEARCH_SECONDS):
                async for _ in self._client.scan_iter(match=pattern, count=1000):
                    return True
        except Exception as exc:  # as in `in_time`
            raise StoreUnavailable(type(exc).__name__) from exc
        return False

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set; the ones that leave soonest give way when it is full."""
        now = self._wall_clock()
        async with self._link.in_time(tenant_in(key)):
            pipeline = self._client.pipeline(transaction=False)
            pipeline.zremrangebyscore(key, "-inf", now)
            pipeline.zremrangebyscore(key, f"({now + FURTHEST_AHEAD * ttl_seconds}", "+inf")
            signed = [self._signing.sign(key, member.encode()) for member in members]
            pipeline.zadd(key, dict.fromkeys(signed, now + ttl_seconds))
            pipeline.zremrangebyrank(key, 0, -MOST_MEMBERS - 1)
            pipeline.pexpire(key, _milliseconds(ttl_seconds))
            await pipeline.execute()

    async def members(self, key: str, most: int) -> list[str]:
        """Return the members that are still in their time, the one that stays longest first."""
        async with self._link.in_time(tenant_in(key)):
            found = values_in(await self._client.eval(MEMBERS, 1, key, self._wall_clock(), most, LARGEST_MEMBER_BYTES))
        verified = (self._signing.verified(key, member) for member in found if member is not None)
        return [member.decode() for member in verified if member is not None]

    async def publish(self, kind: EventKind, message: bytes) -> None:
        """Send the message, behind its kind and a NUL, to every process that listens."""
        event = b"%b\0%b" % (kind.encode(), message)
        async with self._link.in_time():
            await self._client.publish(self._channel, self._signing.sign(self._channel, event))

    def subscribe(self, kind: EventKind, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `listener` with every message of the kind until the returned function is called."""
        token = object()
        self._listeners[token] = (kind, listener)
        return lambda: self._listeners.pop(token, None) and None

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop listening."""
        await self.aclose()

    def start(self) -> None:
        """Begin to listen, on a connection of its own that is made anew whenever it breaks."""
        self._reading = asyncio.get_running_loop().create_task(self._read_until_closed())

    async def aclose(self) -> None:
        """Stop listening."""
        self._closing = True
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read_until_closed(self) -> None:
        while not self._closing:
            try:
                await self._read_channel()
            except Exception as exc:  # noqa: BLE001 - as in `in_time`; a process without it would be deaf for good
                self._link.channel_broke(exc)
                log.debug("The channel between replicas broke (%s): opening it again", type(exc).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _read_channel(self) -> None:
        """Read until closed, or until connections are dialed anew: this one may lead to a master of before.

        Raises TimeoutError where the channel is silent, and what the client raises.

        The client may lose a cancellation, so it is never left to wait for long.
        """
        client = await _one_node_of(self._client) if isinstance(self._client, RedisCluster) else self._client
        renewals = self._link.renewals
        try:
            async with client.pubsub() as channel:
                await channel.subscribe(self._channel)
                silences = 0
                while not self._closing and self._link.renewals == renewals:
                    message = await channel.get_message(timeout=READ_SECONDS)
                    silences = silences + 1 if message is None else 0
                    if silences > MOST_SILENCES:
                        raise TimeoutError
                    if message is None:
                        await channel.ping()
                    elif message["type"] == "message":
                        self._tell(message["data"])
        finally:
            if client is not self._client:
                await client.aclose()

    def _tell(self, received: bytes) -> None:
        """Pass on what one of our own processes said; anything else is dropped unread."""
        if len(received) > LARGEST_MESSAGE_BYTES:
            return
        event = self._signing.verified(self._channel, received)
        if event is not None:
            kind, _, message = event.partition(b"\0")
            for wanted, listener in list(self._listeners.values()):
                if kind == wanted.encode():
                    listener(message)


async def _one_node_of(cluster: RedisCluster) -> Redis:
    """Return a client of one node: what is published anywhere in a Cluster is heard on every node of it."""
    await cluster.initialize()
    node = cluster.get_default_node()
    if node is None:
        raise ConnectionError("the Cluster shows no node")
    pool = ConnectionPool(connection_class=node.connection_class, **node.connection_kwargs)
    return Redis.from_pool(pool)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
