"""Coordination of replicas through Redis: leases, member sets and events."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from redis.asyncio.client import Redis
from redis.asyncio.connection import ConnectionPool

from app.adapters.redis.connection import RedisConnection, value_in, values_in
from app.adapters.redis.scripts import MEMBERS, PUT_IF_ABSENT, REMOVE, REPLACE
from app.adapters.redis.signed_events import SignedEvents
from app.adapters.redis.wire import ReplyLimit
from app.ports.coordination import EventKind
from app.ports.sealing import Signer
from app.ports.store import StoreUnavailable
from app.services.key_namespace import tenant_in
from app.services.tasks.sealed_values import MAX_BYTES

if TYPE_CHECKING:
    from redis.asyncio.cluster import RedisCluster

MAX_MEMBERS = 1_000
"""Maximum number of members of one set."""

RETRY_SECONDS = 0.5
"""Delay before a failed subscription is opened again."""

POLL_SECONDS = 1.0
"""Timeout of one read of the channel. A ping follows a read that times out."""

MAX_SILENT_POLLS = 3
"""Maximum number of successive reads without a message or a reply to a ping. After more, the connection counts as dead.

TCP keepalive does not detect this: a proxy answers it even if its own connection to Redis has ended.
"""

MAX_MEMBER_BYTES = 512
"""Size limit of a member; larger ones are not read. Those of this service have at most 144 bytes."""

MAX_TTLS_AHEAD = 2.0
"""Members that expire later than this many TTLs from now are removed. No replica with a correct clock writes them."""

SCAN_TIMEOUT_SECONDS = 20.0
"""Timeout of `any_key`, which scans all keys."""

log = logging.getLogger(__name__)


class RedisCoordination:
    """The Coordination of replicas. Leases use SET NX, member sets are sorted sets by expiry, events use pub/sub."""

    def __init__(
        self, connection: RedisConnection, signer: Signer, channel: str, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Use `connection`, which the caller closes. `wall_clock` returns Unix seconds.

        Messages on `channel` and members of sets are signed with `signer`. Those that others have written are ignored.
        """
        self._connection = connection
        self._signer = signer
        self._channel = channel
        self._events = SignedEvents(signer, channel, wall_clock)
        self._client: Any = connection.client
        self._wall_clock = wall_clock
        self._listeners: dict[object, tuple[EventKind, Callable[[bytes], None]]] = {}
        self._listener_task: asyncio.Task[None] | None = None
        self._closing = False

    async def get(self, key: str) -> bytes | None:
        """Return the value; None if there is none, b"" if it is larger than MAX_BYTES or not a string.

        A missing permission is not logged or counted: the one to read the idempotency keys of release 1.0 is optional.
        """
        async with self._connection.operation(tenant_in(key), may_be_denied=True):
            (value,) = await self._connection.get_many([key], MAX_BYTES)
            return value

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        """Store `value` if there is none and return None; else return the current value, b"" if it is too large."""
        async with self._connection.operation(tenant_in(key)):
            current = await self._client.eval(PUT_IF_ABSENT, 1, key, value, _milliseconds(ttl_seconds), MAX_BYTES)
            return value_in(current)

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        """Replace `expected` by `value`, and return whether `expected` was still there."""
        async with self._connection.operation(tenant_in(key)):
            return bool(await self._client.eval(REPLACE, 1, key, expected, value, _milliseconds(ttl_seconds)))

    async def remove(self, key: str, expected: bytes) -> None:
        """Remove the key if it still holds `expected`."""
        async with self._connection.operation(tenant_in(key)):
            await self._client.eval(REMOVE, 1, key, expected)

    async def any_key(self, pattern: str) -> bool:
        """Return whether a key matches the glob `pattern`, with a SCAN of all keys: a round trip for each thousand.

        Raises StoreUnavailable if Redis fails, or if the scan takes longer than SCAN_TIMEOUT_SECONDS.
        """
        try:
            async with asyncio.timeout(SCAN_TIMEOUT_SECONDS):
                async for _ in self._client.scan_iter(match=pattern, count=1000):
                    return True
        except Exception as exc:  # any exception type, as in RedisConnection.operation
            raise StoreUnavailable(type(exc).__name__) from exc
        return False

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set. Above MAX_MEMBERS, those that expire first are removed."""
        signed = [self._signer.sign(key, member.encode()) for member in members]
        now = self._wall_clock()
        async with self._connection.operation(tenant_in(key)):
            pipeline = self._client.pipeline(transaction=False)
            pipeline.zremrangebyscore(key, "-inf", now)
            pipeline.zremrangebyscore(key, f"({now + MAX_TTLS_AHEAD * ttl_seconds}", "+inf")
            pipeline.zadd(key, dict.fromkeys(signed, now + ttl_seconds))
            pipeline.zremrangebyrank(key, 0, -MAX_MEMBERS - 1)
            pipeline.pexpire(key, _milliseconds(ttl_seconds))
            await pipeline.execute()

    async def members(self, key: str, limit: int) -> list[str]:
        """Return at most `limit` members that have not expired, the last to expire first."""
        async with self._connection.operation(tenant_in(key), limit=ReplyLimit(limit, MAX_MEMBER_BYTES)):
            signed = values_in(await self._client.eval(MEMBERS, 1, key, self._wall_clock(), limit, MAX_MEMBER_BYTES))
        verified = (self._signer.verified(key, member) for member in signed if member is not None)
        return [member.decode() for member in verified if member is not None]

    async def publish(self, kind: EventKind, message: bytes) -> None:
        """Send the kind, a NUL and the message, signed with the time, to every process that listens."""
        event = b"%b\0%b" % (kind.encode(), message)
        async with self._connection.operation():
            await self._client.publish(self._channel, self._events.sign(event))

    def subscribe(self, kind: EventKind, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `listener` with each message of `kind` until the returned function is called."""
        subscription = object()
        self._listeners[subscription] = (kind, listener)
        return lambda: self._listeners.pop(subscription, None) and None

    async def __aenter__(self) -> Self:
        """Start to listen for events."""
        self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop listening."""
        await self.aclose()

    def start(self) -> None:
        """Start to listen for events. The subscription has its own connection, which is reopened whenever it fails."""
        self._listener_task = asyncio.get_running_loop().create_task(self._read_until_closed())

    async def aclose(self) -> None:
        """Stop listening."""
        self._closing = True
        if self._listener_task is not None:
            self._listener_task.cancel()
            await asyncio.wait([self._listener_task])

    async def _read_until_closed(self) -> None:
        while not self._closing:
            try:
                await self._read_channel()
            except Exception as exc:  # noqa: BLE001 - an exception must not end listening
                self._connection.on_channel_error(exc)
                log.debug("The Redis channel between replicas failed (%s). It is opened again", type(exc).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    async def _read_channel(self) -> None:
        """Dispatch messages until `aclose`, or until the RedisConnection has reconnected.

        After a reconnect, this subscription may still be on the old master. Raises TimeoutError if the channel is
        silent, and the exceptions of the client. Each read is short, because the client may swallow a cancellation.
        """
        client = self._client if isinstance(self._client, Redis) else await _node_client(self._client)
        reconnects = self._connection.reconnects
        try:
            async with client.pubsub() as channel:
                await channel.subscribe(self._channel)
                silent_polls = 0
                while not self._closing and self._connection.reconnects == reconnects:
                    message = await channel.get_message(timeout=POLL_SECONDS)
                    silent_polls = silent_polls + 1 if message is None else 0
                    if silent_polls > MAX_SILENT_POLLS:
                        raise TimeoutError
                    if message is None:
                        await channel.ping()
                    elif message["type"] == "message":
                        self._dispatch(message["data"])
                        await asyncio.sleep(0)  # the client reads buffered messages without a turn for other tasks
        finally:
            if client is not self._client:
                await client.aclose()

    def _dispatch(self, received: bytes) -> None:
        """Call the listeners of a message's kind. Messages that this service did not sign, and replays, are ignored."""
        event = self._events.accept(received)
        if event is not None:
            kind, _, message = event.partition(b"\0")
            for listened_kind, listener in list(self._listeners.values()):
                if kind == listened_kind.encode():
                    listener(message)


async def _node_client(cluster: "RedisCluster") -> Redis:
    """Return a client of any master. Each node of a Cluster receives all published messages.

    The next call may choose another one, because this one may not answer.
    """
    await cluster.initialize()
    masters = cluster.get_primaries()
    if not masters:
        raise ConnectionError("the Cluster has no known node")
    node = random.choice(masters)  # noqa: S311 - nothing depends on it being secret
    pool = ConnectionPool(connection_class=node.connection_class, **node.connection_kwargs)
    return Redis.from_pool(pool)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
