"""Attacks with bytes that nobody needs, and with many small reads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from tests.attacks.attacks import Row
from tests.attacks.flooding import flood
from tests.attacks.target import Target

JUNK = b"x" * 262_144
REFUSED = b"X\r\n\r\n"
ANSWERED = b"POST /x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99999999999\r\n\r\n"
HEAD = b"GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: "
CHUNKED = b"POST /x HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"


async def sending(first: bytes, rest: bytes, port: int, _client: int) -> None:
    """Send `first`, then `rest` again and again, until the connection ends."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(first)
        while not writer.is_closing():
            writer.write(rest)
            await writer.drain()
            await asyncio.sleep(0)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def bytes_after_a_refusal(target: Target) -> AsyncIterator[None]:
    """Send a malformed request, and then bytes as fast as they are read, on 300 connections."""
    async with flood(target, partial(sending, REFUSED, JUNK), 300):
        yield


@asynccontextmanager
async def bytes_after_an_answer(target: Target) -> AsyncIterator[None]:
    """Send a body without end that is answered with 404 at once, on 300 connections."""
    async with flood(target, partial(sending, ANSWERED, JUNK), 300):
        yield


@asynccontextmanager
async def heads_byte_by_byte(target: Target) -> AsyncIterator[None]:
    """Send heads one byte a packet, on 3,900 connections."""
    async with flood(target, partial(sending, HEAD, b"a"), 3900):
        yield


@asynccontextmanager
async def bodies_byte_by_byte(target: Target) -> AsyncIterator[None]:
    """Send bodies one chunk of a byte a packet, on 3,900 connections."""
    async with flood(target, partial(sending, CHUNKED, b"1\r\nx\r\n"), 3900):
        yield


READ_ROWS = (
    Row("300 connections that send on after a refusal", "an honest read took 2.2 s", bytes_after_a_refusal),
    Row("300 bodies without end that are answered at once", "an honest read took 1.4 s", bytes_after_an_answer),
    Row("3,900 heads that come byte by byte", "an honest read took 6.2 s", heads_byte_by_byte),
    Row("3,900 bodies that come byte by byte", "an honest read took 2.5 s", bodies_byte_by_byte),
)
