"""A parser that bounds replies in bytes: a client holds a reply in memory until the whole of it has come."""

from typing import Any

from redis._parsers import _AsyncHiredisParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

MOST_REPLY_BYTES = 16 * 1024 * 1024
"""Largest reply: 200 values of 64 KB each, and what the protocol adds."""


class BoundedParser(_AsyncHiredisParser):
    """The client's own parser, which fails at a reply that is larger than any that this service asks for."""

    __slots__ = ("_unfinished_bytes",)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the next reply. Raises InvalidResponse for one that is too large."""
        self._unfinished_bytes = 0
        return await super().read_response(*args, **options)

    async def read_from_socket(self) -> bool:
        """Read a part of the reply. Raises InvalidResponse if too much of it has come."""
        stream: Any = self._stream
        part = await stream.read(self._read_size)
        if not part:
            raise RedisConnectionError("Connection closed by server.")
        self._unfinished_bytes += len(part)
        if self._unfinished_bytes > MOST_REPLY_BYTES:
            raise InvalidResponse("the reply is larger than any that was asked for")
        reader: Any = self._reader
        reader.feed(part)
        return True
