"""A reply parser with a size limit. redis-py holds a reply in memory until it is complete, and has no limit."""

from typing import Any

from redis._parsers import _AsyncHiredisParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

MAX_REPLY_BYTES = 16 * 1024 * 1024
"""Size limit of a reply: 200 values of 64 KB each, and the overhead of the protocol."""


class BoundedParser(_AsyncHiredisParser):
    """redis-py's parser, but it fails for a reply that is larger than any that this service requests."""

    __slots__ = ("_unfinished_bytes",)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the next reply. Raises InvalidResponse if it is larger than MAX_REPLY_BYTES."""
        self._unfinished_bytes = 0
        return await super().read_response(*args, **options)

    async def read_from_socket(self) -> bool:
        """Read a part of the reply. Raises InvalidResponse if the parts are larger than MAX_REPLY_BYTES."""
        stream: Any = self._stream
        part = await stream.read(self._read_size)
        if not part:
            raise RedisConnectionError("Connection closed by server.")
        self._unfinished_bytes += len(part)
        if self._unfinished_bytes > MAX_REPLY_BYTES:
            raise InvalidResponse("the reply is larger than any that this service requests")
        reader: Any = self._reader
        reader.feed(part)
        return True
