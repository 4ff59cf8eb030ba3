"""Reads and decodes the bodies of AceDataCloud's responses, within limits of size, memory and time.

httpx is not used for decompression: it undoes any number of layers, without a limit, before the bytes can be counted.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""Size limit of any response, for the bytes received and for the decompressed ones. Fifty records need far less."""

MAX_CONTAINERS = 10_000
"""Maximum number of objects and arrays in one body; fifty records have a few hundred."""

MAX_STRINGS = 20_000
"""Maximum number of strings in one body, including the names of fields; fifty records have 3,000."""

MAX_COMMAS = 20_000
"""Maximum number of commas outside of strings in one body.

There are about as many commas as values; fifty records have 1,700.
"""

MAX_NUMBER_LENGTH = 40
"""Maximum length, in characters, of a number; timestamps have 17. Parsing takes time quadratic in the length."""

MAX_CHUNKS = 10_000
"""Maximum number of chunks in which a body may be received; even an empty one costs 20 microseconds."""

CHUNKS_AT_ONCE = 20
"""Chunks that are read in one turn of the event loop. A single read from the network may bring thousands."""

ACCEPTED_ENCODING = "gzip"
"""The only accepted content coding, in a single layer."""

_GZIP = 16 + zlib.MAX_WBITS
"""The `wbits` of zlib for the gzip format."""

_PLAIN = ("", "identity")
"""The values of Content-Encoding for a body that is not compressed."""


class UnusableBody(Exception):
    """A body exceeds a limit, or has a content coding that is broken or not accepted."""


class BodyTooLarge(UnusableBody):
    """A body has more bytes than its request allows."""


class ResponseMemory:
    """A limit for the bodies of all responses that are being read."""

    def __init__(self, max_bytes: int) -> None:
        """Allow `max_bytes` for all responses together."""
        self._free_bytes = max_bytes

    @asynccontextmanager
    async def reservation(self) -> AsyncIterator["Reservation"]:
        """Yield an empty reservation for one response. Its bytes are released on exit."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self._free_bytes += reservation.amount

    def try_reserve(self, amount: int) -> bool:
        """Reserve `amount` bytes. Return False, and reserve none, if fewer are free."""
        if amount > self._free_bytes:
            return False
        self._free_bytes -= amount
        return True


class Reservation:
    """The bytes of a ResponseMemory that one response has reserved."""

    def __init__(self, memory: ResponseMemory) -> None:
        """Reserve no bytes of `memory` yet."""
        self._memory = memory
        self.amount = 0

    def grow(self, amount: int) -> None:
        """Reserve `amount` more bytes. Raises UnusableBody if fewer are free."""
        if not self._memory.try_reserve(amount):
            raise UnusableBody
        self.amount += amount


async def read_body(response: httpx.Response, max_bytes: int, reservation: Reservation) -> bytearray:
    """Return the decompressed body, and add its bytes to `reservation`.

    Raises BodyTooLarge above `max_bytes`, UnusableBody for other limits and for a content coding that is broken or not
    accepted, and httpx.HTTPError if the connection fails.
    """
    decompressor = _decompressor(response.headers.get("content-encoding", ""))
    content, received, chunks = bytearray(), 0, 0
    try:
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            received, chunks = received + len(chunk), chunks + 1
            before = len(content)
            content += chunk if decompressor is None else _decompressed(decompressor, chunk, max_bytes - len(content))
            if max(len(content), received) > max_bytes:
                raise BodyTooLarge  # noqa: TRY301 - the handler below clears the content
            if chunks > MAX_CHUNKS:
                raise UnusableBody  # noqa: TRY301 - as above
            reservation.grow(len(content) - before)
            if chunks % CHUNKS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if decompressor is not None and not decompressor.eof:
            raise UnusableBody  # noqa: TRY301 - as above
    except BaseException:
        content.clear()  # the exception's traceback keeps this frame, and so the content, alive
        raise
    return content


def decoded(content: bytearray) -> Any:
    """Return the JSON value in `content`, or its first 1,024 bytes as text if it is not JSON or exceeds a limit.

    The decoded text and the strings of the value together take up to twice the bytes of `content`, or up to eight times
    if `content` is not ASCII, because a character then takes up to 4 bytes. Python's recursion limit bounds the
    nesting. `content` is read as UTF-8, the only encoding of JSON between systems (RFC 8259). In another encoding, the
    bytes of quotation marks and commas could not be counted.
    """
    if _is_within_limits(content):
        try:
            return _JSON_DECODER.decode(content.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            pass
    return content[:1024].decode(errors="replace")


def _is_within_limits(content: bytearray) -> bool:
    """Return whether the numbers of strings, containers and commas in `content` are within the limits.

    The characters are first counted everywhere, which is fast. If they are too many, those inside of strings are left
    out, because echoed prompts may contain quotation marks, brackets and commas.
    """
    if content.count(b'"') <= 2 * MAX_STRINGS and _has_few_separators([content]):
        return True
    unescaped = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    return unescaped.count(b'"') <= 2 * MAX_STRINGS and _has_few_separators(unescaped.split(b'"')[::2])


def _has_few_separators(parts: Sequence[bytearray]) -> bool:
    """Return whether the numbers of commas, objects and arrays in `parts` are within the limits."""
    if sum(part.count(b",") for part in parts) > MAX_COMMAS:
        return False
    return sum(part.count(b"{") + part.count(b"[") for part in parts) <= MAX_CONTAINERS


def _parse_int(text: str) -> int:
    return int(_checked_number(text))


def _parse_float(text: str) -> float:
    return float(_checked_number(text))


def _checked_number(number: str) -> str:
    if len(number) > MAX_NUMBER_LENGTH:
        raise ValueError("a number has too many characters")
    return number


_JSON_DECODER = json.JSONDecoder(parse_int=_parse_int, parse_float=_parse_float)


def _decompressor(encoding: str) -> "zlib._Decompress | None":
    name = encoding.strip().lower()
    if name in _PLAIN:
        return None
    if name != ACCEPTED_ENCODING:
        raise UnusableBody
    return zlib.decompressobj(_GZIP)


def _decompressed(decompressor: "zlib._Decompress", chunk: bytes, max_bytes: int) -> bytes:
    """Return the decompressed `chunk`, cut after `max_bytes` + 1 bytes.

    Raises UnusableBody for invalid gzip data, or for data after the end of the gzip stream.
    """
    if decompressor.eof:
        raise UnusableBody
    try:
        content = decompressor.decompress(chunk, max_bytes + 1)
    except zlib.error:
        raise UnusableBody from None
    if decompressor.unused_data:
        raise UnusableBody
    return content
