"""Attacks with the parts of a request beside its body: headers, request targets, trailers, Authorization spellings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.attacks.attacks import Case, answered_once, going_on, held_open, in_parts
from tests.attacks.target import Connection, Target, batch, raw
from tests.support.service import MODERN, envelope

STRANGERS = 3_500
GET = b"GET /%b HTTP/1.1\r\nhost: 127.0.0.1\r\n%b\r\n"
LONG_TARGET = b"%F0%9F%A6%8A" + b"a" * 4_000
"""One emoji makes CPython store four bytes for each character of the decoded path."""


def _head(number: int, headers: int = 0, target: bytes = b"") -> bytes:
    lines = b"authorization: Bearer invented-%d\r\n" % number
    return GET % (target, lines + b"".join(b"h%d: %b\r\n" % (one, b"b" * 280) for one in range(headers)))


@asynccontextmanager
async def _all_at_once(target: Target, sent: list[bytes]) -> AsyncIterator[None]:
    """Open all connections first, then send on all of them at once."""
    connections: list[Connection] = await in_parts((target.connect(limit=2**10) for _ in sent), at_once=200)
    await asyncio.gather(*(one.send(data) for one, data in zip(connections, sent, strict=True)))
    async with held_open(connections):
        yield


@asynccontextmanager
async def whole_heads(target: Target) -> AsyncIterator[None]:
    """Send a complete GET request with 28 KB of headers under each of 3,500 made-up tokens."""
    async with _all_at_once(target, [_head(number, headers=95) for number in range(STRANGERS)]):
        yield


@asynccontextmanager
async def long_targets(target: Target) -> AsyncIterator[None]:
    """Send a complete GET request with a target of 4,000 bytes under each of 3,500 made-up tokens."""
    async with _all_at_once(target, [_head(number, target=b"a" * 4_000) for number in range(STRANGERS)]):
        yield


@asynccontextmanager
async def targets_behind_waits(target: Target) -> AsyncIterator[None]:
    """Start a wait on each of 1,000 connections, and pipeline 15 requests with long targets and an emoji behind it."""
    behind = (GET % (LONG_TARGET, b"")) * 15
    calls = [raw(*batch([f"run-{n}"], wait_seconds=50), f"customer-{n % 60}") + behind for n in range(1000)]
    connections = await in_parts((target.connect(call, limit=2**10) for call in calls), at_once=60)
    async with held_open(connections):
        yield


@asynccontextmanager
async def trailers_without_end(target: Target) -> AsyncIterator[None]:
    """Send a chunked body on each of 3,900 connections, with an unfinished trailer of 31 KB."""
    start = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nx: "
    connections = (target.connect(start + b"a" * 31_000, limit=2**10) for _ in range(3900))
    async with held_open(await in_parts(connections, at_once=200)):
        yield


async def _looping(target: Target, sent: bytes) -> None:
    while True:
        connection = await target.connect(sent, limit=2**12)
        while await connection.status():
            await connection.hears(b"\r\n\r\n")
            await connection.send(sent)
        connection.hang_up()


@asynccontextmanager
async def requests_of_nobody(target: Target) -> AsyncIterator[None]:
    """Keep sending requests without a token for an unknown path, on each of 1,000 connections."""
    async with going_on(_looping(target, GET % (b"livez-not", b"")) for _ in range(1000)):
        await asyncio.sleep(2)
        yield


@asynccontextmanager
async def one_token_in_many_spellings(target: Target) -> AsyncIterator[None]:
    """Keep reading one token's finished tasks on 400 connections, with as many different spaces after "Bearer"."""
    ids = [f"finished-{index}" for index in range(50)]
    call = raw(*batch(ids), "customer")
    await answered_once(target, call)
    spelt = [call.replace(b"Bearer ", b"Bearer" + b" " * (1 + number)) for number in range(400)]
    async with going_on(_looping(target, one) for one in spelt):
        await asyncio.sleep(2)
        yield


@asynccontextmanager
async def lists_of_tasks(target: Target) -> AsyncIterator[None]:
    """Keep calling luma_list_tasks on 400 connections under 40 made-up tokens."""
    message, headers = envelope("tools/call", {"name": "luma_list_tasks", "arguments": {}}, MODERN)
    calls = [raw(message, headers, f"invented-{number % 40}") for number in range(400)]
    async with going_on(_looping(target, call) for call in calls):
        await asyncio.sleep(2)
        yield


HEADS = (
    Case("3,500 whole heads of 28 KB under made-up tokens", "308 MB", whole_heads),
    Case("3,500 requests with long URLs under made-up tokens", "335 MB", long_targets),
    Case("1,000 waits with 15 long URLs behind each", "756 MB", targets_behind_waits),
    Case("3,900 chunked bodies with trailers that do not end", "277 MB", trailers_without_end),
    Case("1,000 connections that send requests without a token", "72 ms -> 464 ms", requests_of_nobody),
    Case("one token on 400 connections in 400 spellings", "11 ms -> 194 ms", one_token_in_many_spellings),
    Case("400 connections that list tasks under 40 made-up tokens", "purchases 0.3 s -> 1.95 s", lists_of_tasks),
)
