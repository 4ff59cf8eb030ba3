"""Attacks with bytes that nobody needs, and with many small reads."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import product

from redis.asyncio import Redis

from app.adapters.acedata.policy import ACEDATACLOUD
from app.mcp_server.tools.catalog import build_catalog
from tests.attacks.attacks import Case, held_open, in_parts
from tests.attacks.flooding import flood
from tests.attacks.target import Figure, Target, batch, connect, raw
from tests.support.service import ERAS, MODERN, envelope

JUNK = b"x" * 262_144
REFUSED = b"X\r\n\r\n"
ANSWERED = b"POST /x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99999999999\r\n\r\n"
HEAD = b"GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: "
SHORT_HEAD = b"GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\n%s\r\n"
PACKETS = 16
METRICS = b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
CLIENTS = ("claude-code/1", "cursor/1", "codex/1", "gemini-cli/1", "curl/8", "python-httpx/1", "node", "other/1")
TOOLS = tuple(tool.name for tool in build_catalog(200, ACEDATACLOUD))
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


@asynccontextmanager
async def sent_at_once(target: Target, sent: bytes) -> AsyncIterator[None]:
    """Send the same bytes on 3,500 connections at once, without a token."""
    connections = await in_parts((target.connect(limit=2**10) for _ in range(3500)), at_once=200)
    async with held_open(connections):
        for one in connections:
            one.write(sent)
        yield


@asynccontextmanager
async def beside_a_body_in_packets(target: Target) -> AsyncIterator[None]:
    """Send heads one byte a packet, on 3,500 connections, while an honest caller's requests come in 16 packets."""
    async with flood(target, partial(sending, HEAD, b"a"), 3500):
        connection, seconds = await target.connect(limit=2**20), []
        for number in range(15):
            request = raw(*batch([f"in-packets-{number}-{one:0100}" for one in range(200)]), "honest")
            started = time.perf_counter()
            for at in range(0, len(request), len(request) // PACKETS):
                await connection.send(request[at : at + len(request) // PACKETS])
            await connection.result()
            seconds.append(time.perf_counter() - started)
        connection.hang_up()
        target.figures.append(Figure(statistics.median(seconds) * 1000, "ms, a request in 16 packets", 1000))
        yield


async def asking_for_metrics(port: int, _client: int) -> None:
    """Ask for /metrics again and again on one connection, until it ends."""
    connection = await connect(port, limit=2**20)
    try:
        while True:
            await connection.send(METRICS)
            await connection.answer()
    finally:
        connection.hang_up()


@asynccontextmanager
async def metrics_without_end(target: Target) -> AsyncIterator[None]:
    """Call every tool as every known client in both eras, and then ask for /metrics on 60 connections."""
    connection = await target.connect(limit=2**20)
    for client, era, (number, tool) in product(CLIENTS, ERAS, enumerate(TOOLS)):
        message, headers = envelope("tools/call", {"name": tool, "arguments": {"surprise": number}}, era)
        await connection.send(raw(message, {**headers, "user-agent": client}, f"made-up-{number}"))
        await connection.result()
    connection.hang_up()
    async with flood(target, asking_for_metrics, 60):
        yield


async def connecting(port: int, client: int) -> None:
    """Open 30 connections a second, send a request on each, and hang up after 50 ms."""
    message, headers = envelope("tools/list", {}, MODERN)
    request, began, number = raw(message, headers, f"made-up-{client}"), time.monotonic(), 0
    while True:
        number += 1
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        asyncio.get_running_loop().call_later(0.05, writer.transport.abort)
        await asyncio.sleep(max(0.0, began + number / 30 - time.monotonic()))


@asynccontextmanager
async def connections_that_hang_up(target: Target) -> AsyncIterator[None]:
    """Open 600 new connections a second with made-up tokens, while an honest caller connects for each probe."""
    async with flood(target, connecting, 20):
        answered = [await target.probe_seconds() for _ in range(20)]
        seconds = [one for one in answered if one is not None]
        assert len(seconds) == len(answered), "a probe was not answered"
        target.figures.append(Figure(statistics.median(seconds) * 1000, "ms, a probe on a new connection", 1000))
        yield


async def publishing(redis_port: int, _port: int, _client: int) -> None:
    """Publish 30,000 messages of junk a second on the channel of the service."""
    async with Redis(port=redis_port) as redis:
        [channel], began, sent = await redis.pubsub_channels(), time.monotonic(), 0
        while True:
            due = min(int((time.monotonic() - began) * 30_000) - sent, 2_000)
            async with redis.pipeline(transaction=False) as pipeline:
                for _ in range(due):
                    pipeline.publish(channel, JUNK[:64])
                await pipeline.execute()
            sent += due
            await asyncio.sleep(0.01)


@asynccontextmanager
async def junk_on_the_channel(target: Target) -> AsyncIterator[None]:
    """Publish junk in Redis, on the channel of the service."""
    async with flood(target, partial(publishing, target.redis.port), 1):
        yield


READ_ROWS = (
    Case("300 connections that send on after a refusal", "an honest read took 2.2 s", bytes_after_a_refusal),
    Case("300 bodies without end that are answered at once", "an honest read took 1.4 s", bytes_after_an_answer),
    Case("/metrics asked for on 60 connections", "an honest read took 0.85 s", metrics_without_end),
    Case("600 new connections a second that hang up", "a new connection waited 7.4 s", connections_that_hang_up),
    Case("30,000 messages of junk a second on the channel", "an honest read took 2.0 s", junk_on_the_channel),
    Case("3,900 heads that come byte by byte", "an honest read took 6.2 s", heads_byte_by_byte),
    Case("3,900 bodies that come byte by byte", "an honest read took 2.5 s", bodies_byte_by_byte),
    Case(
        "3,500 heads that come byte by byte, and an honest request in 16 packets",
        "it took 1.7 s",
        beside_a_body_in_packets,
    ),
    Case("3,500 bodies of 250 KB at once", "612 MB", partial(sent_at_once, sent=ANSWERED + JUNK[:250_000])),
    Case(
        "3,500 times 19 short heads at once", "557 MB", partial(sent_at_once, sent=SHORT_HEAD % (b"a:\r\n" * 29) * 19)
    ),
    Case(
        "3,500 times 7 heads of 90 fields at once",
        "289 MB",
        partial(sent_at_once, sent=SHORT_HEAD % (b"a:\r\n" * 90) * 7),
    ),
)
