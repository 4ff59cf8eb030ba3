"""Bodies of AceDataCloud's answers, read and decoded within bounds.

httpx would undo any number of layers of compression, each without a limit, before the first byte could be counted.
"""

import json
import zlib
from typing import Any, cast

import httpx

LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
"""Far above fifty records. The bound holds for the bytes on the wire and for the decompressed ones."""

MOST_CONTAINERS = 200_000
"""Objects and arrays in one answer, 60 to 90 bytes each when empty; fifty records have a few hundred."""

ACCEPTED_ENCODING = "gzip"
"""The one content coding that is asked for and understood, in one layer."""

_GZIP = 16 + zlib.MAX_WBITS
_PLAIN = ("", "identity")


class UnusableBody(Exception):
    """A body that is too large, or compressed in a way that was not asked for."""


async def read_body(response: httpx.Response) -> bytearray:
    """Return the decompressed body. Raises UnusableBody, and httpx.HTTPError where the connection breaks."""
    decoder = _decoder(response.headers.get("content-encoding", ""))
    content, received = bytearray(), 0
    try:
        async for part in cast("httpx.AsyncByteStream", response.stream):
            received += len(part)
            content += part if decoder is None else _decompressed(decoder, part, LARGEST_ANSWER_BYTES - len(content))
            if max(len(content), received) > LARGEST_ANSWER_BYTES:
                raise UnusableBody  # noqa: TRY301 - one way out for whatever ends the reading
        if decoder is not None and not decoder.eof:
            raise UnusableBody  # noqa: TRY301 - as above
    except BaseException:
        content.clear()  # a deadline's error keeps this frame
        raise
    return content


def decoded(content: bytearray) -> Any:
    """Return the JSON value in `content`, or the beginning of the text where it is none or too intricate.

    Python refuses integers of more than 4,300 digits and nesting beyond its recursion limit by itself.
    """
    if content.count(b"{") + content.count(b"[") <= MOST_CONTAINERS:
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            pass
    return content[:1024].decode(errors="replace")


def _decoder(encoding: str) -> "zlib._Decompress | None":
    name = encoding.strip().lower()
    if name in _PLAIN:
        return None
    if name != ACCEPTED_ENCODING:
        raise UnusableBody
    return zlib.decompressobj(_GZIP)


def _decompressed(decoder: "zlib._Decompress", part: bytes, room: int) -> bytes:
    """Return what `part` adds, at most one byte more than there is `room` for."""
    if decoder.eof:
        raise UnusableBody
    try:
        text = decoder.decompress(part, room + 1)
    except zlib.error:
        raise UnusableBody from None
    if decoder.unused_data:
        raise UnusableBody
    return text
