"""Bodies of AceDataCloud's answers, read and decoded within bounds.

httpx would undo any number of layers of compression, each without a limit, before the first byte could be counted.
"""

import json
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx

LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
"""Far above fifty records. The bound holds for the bytes on the wire and for the decompressed ones."""

MOST_CONTAINERS = 10_000
"""Objects and arrays in one answer; fifty records have a few hundred."""

MOST_STRINGS = 20_000
"""Strings in one answer, names of fields among them; fifty records have 3,000."""

MOST_COMMAS = 20_000
"""Commas outside of strings in one answer, of which nearly each ends a value; fifty records have 1,700."""

LONGEST_NUMBER = 40
"""Characters; times have 17. Longer ones take the square of their length."""

MOST_PARTS = 10_000
"""Parts in which a body may come; each costs some microseconds, however small it is."""

ACCEPTED_ENCODING = "gzip"
"""The one content coding that is asked for and understood, in one layer."""

_GZIP = 16 + zlib.MAX_WBITS
_PLAIN = ("", "identity")


class UnusableBody(Exception):
    """A body that is too large, or compressed in a way that was not asked for."""


class BodyTooLarge(UnusableBody):
    """A body of more bytes than its request may be answered with."""


class AnswerMemory:
    """Counts the bytes of all answers that are held at once."""

    def __init__(self, most: int) -> None:
        """Allow all answers together `most` bytes."""
        self._left = most

    @asynccontextmanager
    async def held(self) -> AsyncIterator["Held"]:
        """Yield an account for one answer. Its bytes are given back on exit."""
        held = Held(self)
        try:
            yield held
        finally:
            self._left += held.amount

    def take(self, amount: int) -> bool:
        """Reserve `amount` bytes. Return False, and reserve none, if fewer are left."""
        if amount > self._left:
            return False
        self._left -= amount
        return True


class Held:
    """The bytes that one answer has reserved."""

    def __init__(self, memory: AnswerMemory) -> None:
        """Start with no bytes of `memory`."""
        self._memory = memory
        self.amount = 0

    def grow(self, amount: int) -> None:
        """Reserve `amount` bytes more. Raises UnusableBody if fewer are left."""
        if not self._memory.take(amount):
            raise UnusableBody
        self.amount += amount


async def read_body(response: httpx.Response, most: int, held: Held) -> bytearray:
    """Return the decompressed body, of at most `most` bytes, which `held` counts.

    Raises UnusableBody (BodyTooLarge above `most`), and httpx.HTTPError where the connection breaks.
    """
    decoder = _decoder(response.headers.get("content-encoding", ""))
    content, received, parts = bytearray(), 0, 0
    try:
        async for part in cast("httpx.AsyncByteStream", response.stream):
            received, parts = received + len(part), parts + 1
            before = len(content)
            content += part if decoder is None else _decompressed(decoder, part, most - len(content))
            if max(len(content), received) > most:
                raise BodyTooLarge  # noqa: TRY301 - one way out for whatever ends the reading
            if parts > MOST_PARTS:
                raise UnusableBody  # noqa: TRY301 - as above
            held.grow(len(content) - before)
        if decoder is not None and not decoder.eof:
            raise UnusableBody  # noqa: TRY301 - as above
    except BaseException:
        content.clear()  # a deadline's error keeps this frame
        raise
    return content


def expansion(content: bytearray) -> int:
    """Return how many bytes `decoded` takes for a while: the text and its strings, of up to four bytes a character."""
    return 2 * len(content) * (1 if content.isascii() else 4)


def decoded(content: bytearray) -> Any:
    """Return the JSON value in `content`, or its first 1,024 bytes as text if it is not JSON or too intricate.

    Python itself refuses nesting beyond its recursion limit. `content` is read as UTF-8, the only encoding of JSON
    between systems (RFC 8259): in another one values could not be counted.
    """
    if _has_few_values(content):
        try:
            return _DECODER.decode(content.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            pass
    return content[:1024].decode(errors="replace")


def _has_few_values(content: bytearray) -> bool:
    """Return whether `content` has at most as many values of each kind as an answer may have.

    Escapes and strings are looked at only if there are more marks in all; prompts that are echoed may hold many.
    """
    if content.count(b'"') <= 2 * MOST_STRINGS and _has_few_marks([content]):
        return True
    unescaped = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    return unescaped.count(b'"') <= 2 * MOST_STRINGS and _has_few_marks(unescaped.split(b'"')[::2])


def _has_few_marks(parts: Sequence[bytearray]) -> bool:
    """Return whether few objects and arrays begin, and few commas are, in `parts`."""
    if sum(part.count(b",") for part in parts) > MOST_COMMAS:
        return False
    return sum(part.count(b"{") + part.count(b"[") for part in parts) <= MOST_CONTAINERS


def _int(text: str) -> int:
    return int(_checked(text))


def _float(text: str) -> float:
    return float(_checked(text))


def _checked(number: str) -> str:
    if len(number) > LONGEST_NUMBER:
        raise ValueError("a number of too many digits")
    return number


_DECODER = json.JSONDecoder(parse_int=_int, parse_float=_float)


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
