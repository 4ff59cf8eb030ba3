"""Connections that differ from redis-py's in two ways: replies have limits, and commands are packed by hiredis.

redis-py holds a reply in memory until it is complete, and has no limit. hiredis allocates an array when its header
arrives: 13 bytes that announce 2^31 elements take 17 GB of address space, and seconds of the event loop. hiredis makes
an object of each element, so that 4 MB of empty errors take 130 MB. redis-py's asynchronous connections pack commands
in Python, which takes 50 to 100 microseconds for 50 keys. hiredis, which redis-py's synchronous connections use, takes
5 microseconds.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from redis._parsers import _AsyncHiredisParser
from redis.asyncio.connection import ConnectionPool
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from app.services.tasks.sealed_values import MAX_BYTES

if TYPE_CHECKING:
    from redis.asyncio.cluster import RedisCluster

SMALL_REPLY_BYTES = 256 * 1024
SMALL_REPLY_ELEMENTS = 2_000
"""Limits of the replies to one operation, beside the values that it reads.

An element may be an error, of which hiredis makes an exception: 2,000 take 3 ms of the event loop.
"""

MAX_ELEMENTS = 50_000
"""Maximum number of elements in a reply outside of an operation, including those of nested arrays.

The client of a Cluster asks for the server's list of commands, which has 13,000 elements and 100 KB in Redis 8.
"""

_ELEMENT = re.compile(rb"\r\n(?:[-+:$_#,(!=]|[*~%>|](\d{5})?)")
"""The beginning of an element (RESP3).

The group matches only if an array, set, map, push or attribute announces at least 10,000 elements.
The bytes of a value look like an element once in a million bytes, and like a large array once in 10^13.
"""

_LONGEST_PREFIX = len(b"\r\n*1234")
"""Maximum number of bytes, at the end of one read from the socket, that may be the beginning of a large array."""


class ReplyTooLarge(InvalidResponse):
    """The replies have more bytes or elements than are allowed. Their connection is closed, the rest is not read."""


class ReplyLimit:
    """What the replies to one operation may still have. A pipeline holds all of its replies until the last one."""

    __slots__ = ("_bytes", "_elements")

    def __init__(
        self, values: int = 0, value_bytes: int = MAX_BYTES, *, other_elements: int = SMALL_REPLY_ELEMENTS
    ) -> None:
        """Allow `values` values of at most `value_bytes` each, and a small reply or `other_elements` beside them."""
        self._bytes = SMALL_REPLY_BYTES + values * (value_bytes + _VALUE_OVERHEAD_BYTES)
        self._elements = other_elements + values

    def take(self, size: int, elements: int) -> None:
        """Count what was received. Raises ReplyTooLarge if that is more than was left."""
        self._bytes -= size
        self._elements -= elements
        if self._bytes < 0 or self._elements < 0:
            raise ReplyTooLarge


_VALUE_OVERHEAD_BYTES = len(b"$16384\r\n\r\n")

_operation_limit: ContextVar[ReplyLimit | None] = ContextVar("operation_limit", default=None)
"""The limit of the operation under way; None outside of one. redis-py has no parameter that reaches the parser."""


@contextmanager
def limited_replies(limit: ReplyLimit) -> Iterator[None]:
    """Apply `limit` to all replies together that are read inside `with`."""
    token = _operation_limit.set(limit)
    try:
        yield
    finally:
        _operation_limit.reset(token)


class BoundedParser(_AsyncHiredisParser):
    """redis-py's parser, but it fails for replies that are larger than any that this service requests."""

    __slots__ = ("_end", "_limit")

    def on_connect(self, connection: Any) -> None:
        """Start to parse the replies of a new connection."""
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        # The last bytes of the previous part. An element may begin in one part and end in the next, and a part may end
        # with the beginning of the next reply.
        self._end = b"\r\n"

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the next reply. Raises ReplyTooLarge."""
        self._limit = _operation_limit.get() or ReplyLimit(other_elements=MAX_ELEMENTS)
        return await super().read_response(*args, **options)

    async def read_from_socket(self) -> bool:
        """Read a part of the reply. Return True.

        Raises ReplyTooLarge above the limit, and if an array announces 10,000 elements or more, and
        redis.ConnectionError at the end of the connection.
        """
        stream: Any = self._stream
        part = await stream.read(self._read_size)
        if not part:
            raise RedisConnectionError("Connection closed by server.")
        elements = _ELEMENT.findall(self._end + part)
        self._end = (self._end + part[-_LONGEST_PREFIX:])[-_LONGEST_PREFIX:]
        self._limit.take(len(part), len(elements))
        if any(elements):
            raise ReplyTooLarge
        reader: Any = self._reader
        reader.feed(part)
        return True


class _PacksWithHiredis:
    """The part of a connection class that packs commands."""

    _serializer = HiredisRespSerializer()

    def pack_command(self, *arguments: Any) -> list[bytes]:
        """Return the command in the form that Redis reads. Raises redis.DataError for an argument of another type."""
        packed: list[bytes] = self._serializer.pack(*arguments)
        return packed


def configure_pool(pool: ConnectionPool) -> None:
    """Make all connections of `pool` bounded and fast. The pool must not have any yet."""
    pool.connection_class = _packing_with_hiredis(pool.connection_class)
    pool.connection_kwargs["parser_class"] = BoundedParser


def configure_cluster(cluster: "RedisCluster") -> None:
    """Make all connections of `cluster` bounded and fast. The cluster must not have any yet."""
    options = cluster.get_connection_kwargs()
    default_class: Any = options["connection_class"]
    connection_class = _packing_with_hiredis(default_class)
    options |= {"connection_class": connection_class, "parser_class": BoundedParser}
    for node in cluster.nodes_manager.startup_nodes.values():
        node.connection_class = connection_class
        node.connection_kwargs["parser_class"] = BoundedParser


def _packing_with_hiredis(connection_class: type[Any]) -> type[Any]:
    """Return a subclass of a connection class that packs commands with hiredis."""
    return type(connection_class.__name__, (_PacksWithHiredis, connection_class), {})
