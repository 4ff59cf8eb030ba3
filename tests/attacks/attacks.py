"""Attacks through MCP calls and connections, each with its cost in release 1.0; also helpers for all attack modules."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.attacks.target import Connection, Figure, Target, batch, raw
from tests.support.service import MODERN, envelope, padded

Attack = Callable[[Target], Any]
"""An asynchronous context manager. The attack is under way, or done, inside it; figures go to `target.figures`."""

LISTS = "[" + ",".join(["[]"] * 60_000) + "]"
TEXT = '"' + "a" * 240_000 + '"'


FILE = {"database_url": "sqlite:///{folder}/attacked.db"}
"""The usual database: a file."""


@dataclass(frozen=True, slots=True)
class Case:
    """One attack.

    title: the attack, as in SECURITY.md.
    undefended_cost: its cost in release 1.0, or before it was first defended against; empty if that was not measured.
        A plain size such as "308 MB" is the peak memory of the service's process, a plain time the median read of an
        honest caller; "72 ms -> 464 ms" is that median before and during the attack.
    delay_seconds: the delay of the backend's answers to reads.
    settings: settings of the service other than the default.
    has_issuer: whether the service also accepts tokens of an OpenID issuer.
    """

    title: str
    undefended_cost: str
    attack: Attack
    delay_seconds: float = 0.1
    settings: dict[str, str] = field(default_factory=dict)
    has_issuer: bool = False


async def in_parts(tasks: Iterable[Awaitable[Any]], at_once: int = 100) -> list[Any]:
    """Await all of `tasks` in groups of `at_once`; return their results in order."""
    waiting, results = list(tasks), []
    while waiting:
        part, waiting = waiting[:at_once], waiting[at_once:]
        results += await asyncio.gather(*part)
    return results


def with_body(body: bytes, headers: dict[str, str], token: str) -> bytes:
    """Return an HTTP request to /mcp with an arbitrary body."""
    head, _, _ = raw({}, headers, token).partition(b"\r\n\r\n")
    return head.replace(b"content-length: 2", b"content-length: %d" % len(body)) + b"\r\n\r\n" + body


async def answered_once(target: Target, sent: bytes) -> None:
    """Send a request, wait for the status line of its answer, and disconnect."""
    connection = await target.connect(sent)
    await connection.status()
    connection.hang_up()


def rows(target: Target, table: str, condition: str = "true") -> int:
    """Return how many rows of a table meet a condition, in a service whose settings are FILE."""
    with closing(sqlite3.connect(target.folder / "attacked.db")) as database:
        [(found,)] = database.execute(f"SELECT count(*) FROM {table} WHERE {condition}")  # noqa: S608 - of this program
    return int(found)


@asynccontextmanager
async def held_open(connections: list[Connection]) -> AsyncIterator[None]:
    """Keep the connections open while the block runs, then close them."""
    try:
        yield
    finally:
        for connection in connections:
            connection.hang_up()


@asynccontextmanager
async def going_on(loops: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run endless coroutines while the block runs, then cancel them."""
    tasks = list(map(asyncio.create_task, loops))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def long_names(target: Target) -> AsyncIterator[None]:
    """Make 300 calls, each with a different client name of 250 KB."""

    async def call(number: int) -> None:
        message, headers = envelope("tools/call", {"name": "luma_list_actions", "arguments": {}}, MODERN)
        name = f"{number}" + "x" * 250_000
        message["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] = {"name": name, "version": "1"}
        connection = await target.connect(raw(message, headers, "attacker"))
        assert await connection.status() in (200, 429)
        connection.hang_up()

    await in_parts(map(call, range(300)), at_once=10)
    yield


@asynccontextmanager
async def abandoned_batches(target: Target) -> AsyncIterator[None]:
    """Send 1,000 batches of 200 ids under one token, and disconnect from each before its answer."""

    async def ask(number: int) -> None:
        ids = [f"run-{number}-{index}" for index in range(200)]
        connection = await target.connect(raw(*batch(ids), "attacker"))
        await asyncio.sleep(0.05)
        connection.hang_up()

    await in_parts(map(ask, range(1000)))
    yield


@asynccontextmanager
async def many_listeners(target: Target) -> AsyncIterator[None]:
    """Open 1,000 subscription streams under one token, each with a request of about 180 KB of nested lists."""
    asked = {"notifications": {"resourceSubscriptions": ["luma://tasks/run-1"]}}
    message, headers = envelope("subscriptions/listen", asked, MODERN)
    request = with_body(padded(message, LISTS), headers, "attacker")
    connections = await in_parts((target.connect(request) for _ in range(1000)), at_once=50)
    async with held_open(connections):
        yield


@asynccontextmanager
async def junk_tokens(target: Target) -> AsyncIterator[None]:
    """Keep 300 batches in flight, each under a new token that the backend refuses."""

    async def keep_asking(number: int) -> None:
        round_ = 0
        while True:
            round_ += 1
            ids = [f"run-{number}-{round_}-{index}" for index in range(50)]
            connection = await target.connect(raw(*batch(ids), f"junk-{number}-{round_}"))
            await connection.status()
            connection.hang_up()

    async with going_on(keep_asking(number) for number in range(300)):
        yield


@asynccontextmanager
async def long_prompts(target: Target) -> AsyncIterator[None]:
    """Read 8,000 finished tasks whose prompts have 5,000 four-byte characters, so that all of them are cached."""

    async def ask(number: int) -> None:
        ids = [f"long-{number}-{index}" for index in range(50)]
        connection = await target.connect(raw(*batch(ids), f"attacker-{number % 7}"), limit=2**22)
        assert await connection.status() == 200
        connection.hang_up()

    await in_parts(map(ask, range(160)), at_once=8)
    yield


@asynccontextmanager
async def slow_readers(target: Target) -> AsyncIterator[None]:
    """Pipeline 20 requests for large answers on each of 100 connections, under ten tokens, and read nothing."""
    ids = [f"long-slow-{index}" for index in range(200)]

    async def ask(number: int) -> Connection:
        request = raw(*batch(ids), f"attacker-{number % 10}")
        return await target.connect(request * 20, limit=2**10)

    connections = await in_parts(map(ask, range(100)), at_once=10)
    async with held_open(connections):
        yield


@asynccontextmanager
async def endless_heads(target: Target) -> AsyncIterator[None]:
    """Send 400 KB of headers that never end on 100 connections, and 400 KB of a request target on 100 others."""
    head = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(40_000))
    request_target = b"GET /" + b"a" * 400_000
    both = [target.connect(head) for _ in range(100)] + [target.connect(request_target) for _ in range(100)]
    connections = await in_parts(both)
    async with held_open(connections):
        yield


@asynccontextmanager
async def large_waits(target: Target) -> AsyncIterator[None]:
    """Start 60 waits with up to 240 KB of other data in the request, under 60 tokens, and disconnect from half of them.

    The name `wait_seconds` is written with a JSON escape, in case the service looks for it in the raw body.
    """
    message, headers = batch(["run-1"], wait_seconds=50)

    async def wait(number: int) -> Connection:
        body = padded(message, TEXT if number % 2 else LISTS).replace(b"wait_seconds", b"wait\\u005fseconds")
        return await target.connect(with_body(body, headers, f"attacker-{number}"))

    connections = await in_parts(map(wait, range(60)), at_once=10)
    for connection in connections[::2]:
        connection.hang_up()
    async with held_open(connections):
        yield


@asynccontextmanager
async def packed_answers(target: Target) -> AsyncIterator[None]:
    """Make 20 reads that the backend answers with a gzip bomb in three layers."""

    async def ask(number: int) -> None:
        connection = await target.connect(raw(*batch([f"bomb-{number}"]), "attacker"))
        assert await connection.status() in (200, 429)
        connection.hang_up()

    await in_parts(map(ask, range(20)), at_once=5)
    yield


@asynccontextmanager
async def swelling_answers(target: Target) -> AsyncIterator[None]:
    """Let eight callers keep reading tasks that the backend answers with 4 MiB of JSON that is expensive to decode."""

    async def keep_asking(number: int) -> None:
        for turn in count():
            ids = [f"swell-{number}-{turn}-{task}" for task in range(200)]
            connection = await target.connect(raw(*batch(ids), f"attacker-{number}"))
            assert await connection.status() in (200, 429)
            connection.hang_up()

    async with going_on(map(keep_asking, range(8))):
        yield


def _purchase(key: str, token: str, prompt: str = "A fox") -> bytes:
    arguments = {"prompt": prompt, "idempotency_key": key}
    return raw(*envelope("tools/call", {"name": "luma_generate_video", "arguments": arguments}, MODERN), token)


@asynccontextmanager
async def hung_up_purchases(target: Target) -> AsyncIterator[None]:
    """Send 1,500 purchases with one key, 150 at once, and disconnect from each.

    The figures are the rows in the database, and the processor time that the service takes when all have left: calls
    that went on waiting would keep asking the database.
    """

    async def buy(_number: int) -> None:
        connection = await target.connect(_purchase("same", "attacker"))
        await asyncio.sleep(0.05)
        connection.hang_up()

    await in_parts(map(buy, range(1500)), at_once=150)
    await asyncio.sleep(2)  # the service may still be handling the last disconnects
    before = target.service.cpu_seconds()
    await asyncio.sleep(4)
    target.figures.append(Figure((target.service.cpu_seconds() - before) * 25, "% of a core afterwards", most=10))
    target.figures.append(Figure(rows(target, "purchases"), "rows in the database", most=1))
    yield


@asynccontextmanager
async def abandoned_purchases(target: Target) -> AsyncIterator[None]:
    """Send 6,000 purchases with long prompts, each under its own token and half of them with keys, and disconnect."""

    async def buy(number: int) -> None:
        arguments = {"prompt": "🦊" * 4_900} | ({"idempotency_key": f"key-{number}"} if number % 2 else {})
        message, headers = envelope("tools/call", {"name": "luma_generate_video", "arguments": arguments}, MODERN)
        connection = await target.connect(raw(message, headers, f"invented-{number}"))
        await asyncio.sleep(0.05)
        connection.hang_up()

    await in_parts(map(buy, range(6000)), at_once=150)
    yield


@asynccontextmanager
async def refused_purchases(target: Target) -> AsyncIterator[None]:
    """Buy for five seconds under one refused token, each time with a new key, from 48 clients at once."""
    over = asyncio.get_running_loop().time() + 5

    async def keep_buying(worker: int) -> None:
        number = 0
        while asyncio.get_running_loop().time() < over:
            number += 1
            connection = await target.connect(_purchase(f"key-{worker}-{number}", "junk"))
            await connection.status()
            connection.hang_up()

    await asyncio.gather(*map(keep_buying, range(48)))
    target.figures.append(Figure(rows(target, "purchases"), "rows in the database", most=0))
    target.figures.append(Figure(rows(target, "purchase_keys"), "keys in the database", most=0))
    yield


@asynccontextmanager
async def unfinished_requests(target: Target) -> AsyncIterator[None]:
    """Open 1,500 connections: idle, with part of a head, with part of a body, and with part of a callback.

    The figure is the number that the service has not closed after its timeouts of 3 s.
    """
    starts = (
        b"",
        b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nx-half",
        raw(*batch(["run-1"]), "attacker")[:-40],
        b"POST /callbacks/x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n{",
    )
    connections = await in_parts(target.connect(starts[number % 4]) for number in range(1500))
    closed = await in_parts((connection.is_closed_within(12) for connection in connections), at_once=1500)
    target.figures.append(Figure(closed.count(False), "of 1,500 connections left after their time", most=0))
    async with held_open(connections):
        yield


@asynccontextmanager
async def log_growth(target: Target) -> AsyncIterator[None]:
    """Send 3,000 requests with unknown Host headers, and 3,000 that are not HTTP; measure the growth of the log."""
    before = target.log.stat().st_size

    async def refused_requests(number: int) -> None:
        host = f"{number}.{'a' * 200}.example.com".encode()
        connection = await target.connect(b"GET /mcp HTTP/1.1\r\nhost: " + host + b"\r\nconnection: close\r\n\r\n")
        await connection.status()
        connection.hang_up()
        broken = await target.connect(b"\x16\x03\x01 nonsense\r\n\r\n")
        await broken.status()
        broken.hang_up()

    await in_parts(map(refused_requests, range(3000)))
    grown = (target.log.stat().st_size - before) / 1000
    target.figures.append(Figure(grown, "KB of log for 6,000 refusals", most=50))
    yield


@asynccontextmanager
async def failed_purchases(target: Target) -> AsyncIterator[None]:
    """Buy with 300 keys under 300 tokens that the backend has just refused; count what the database keeps."""

    async def buy(number: int) -> None:
        token = f"junk-{number}"
        read = await target.connect(raw(*batch(["run-1"]), token))
        await read.status()
        read.hang_up()
        bought = await target.connect(_purchase(f"key-{number}", token))
        await bought.status()
        bought.hang_up()

    await in_parts(map(buy, range(300)))
    target.figures.append(Figure(rows(target, "purchases"), "rows in the database", most=0))
    target.figures.append(Figure(rows(target, "purchase_keys"), "keys in the database", most=0))
    yield


@asynccontextmanager
async def half_sent_bodies(target: Target) -> AsyncIterator[None]:
    """Send a body of 38 KB of braces without its last byte, on 100 connections under 100 made-up tokens."""
    _, headers = batch(["run-1"])
    requests = (with_body(b"{" * 38_501, headers, f"invented-{number}")[:-1] for number in range(100))
    connections = await in_parts(map(target.connect, requests))
    async with held_open(connections):
        yield


@asynccontextmanager
async def heads_sent_ahead(target: Target) -> AsyncIterator[None]:
    """Start a wait on each of 1,000 connections, each under its own token, and pipeline 15 heads of 31 KB behind it."""
    behind = (b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: " + b"a" * 31_000 + b"\r\n\r\n") * 15

    async def ask(number: int) -> Connection:
        return await target.connect(raw(*batch(["run-1"], wait_seconds=50), f"invented-{number}") + behind)

    connections = await in_parts(map(ask, range(1000)), at_once=50)
    async with held_open(connections):
        yield


@asynccontextmanager
async def unread_answers(target: Target) -> AsyncIterator[None]:
    """Pipeline 14 requests for answers of 57 KB on each of 2,000 connections, under 39 tokens, and read nothing."""
    ids = [f"run-unread-{index}" for index in range(200)]

    async def ask(number: int) -> Connection:
        return await target.connect(raw(*batch(ids), f"attacker-{number % 39}") * 14, limit=2**10)

    connections = await in_parts(map(ask, range(2000)), at_once=50)
    async with held_open(connections):
        yield


@asynccontextmanager
async def invented_waits(target: Target) -> AsyncIterator[None]:
    """Start 2,500 waits at once, each under its own made-up token."""
    requests = (raw(*batch([f"run-{n}"], wait_seconds=50), f"invented-{n}") for n in range(2500))
    connections = await in_parts(map(target.connect, requests))
    async with held_open(connections):
        yield


@asynccontextmanager
async def one_byte_chunks(target: Target) -> AsyncIterator[None]:
    """Send bodies in chunks of one byte on 12 connections, without a token, as fast as the service reads them."""
    body = b"1\r\n \r\n" * 42_000 + b"0\r\n\r\n"
    request = b"POST /x HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n" + body

    async def keep_sending() -> None:
        while True:
            connection = await target.connect(request)
            await connection.is_closed_within(2)
            connection.hang_up()

    async with going_on(keep_sending() for _ in range(12)):
        yield


@asynccontextmanager
async def one_busy_token(target: Target) -> AsyncIterator[None]:
    """Read the same 200 finished tasks on 30 connections under one token, again after each answer."""
    request = raw(*batch([f"run-busy-{index}" for index in range(200)]), "attacker")

    async def keep_asking() -> None:
        connection = await target.connect(request)
        while True:
            await connection.answer()
            await connection.send(request)

    async with going_on(keep_asking() for _ in range(30)):
        yield


@asynccontextmanager
async def silent_connections(target: Target) -> AsyncIterator[None]:
    """Open 5,200 connections and send nothing, or an unfinished head of 31 KB on every third; then probe /livez."""
    head = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: " + b"a" * 31_000
    connections = await in_parts(target.connect(head if number % 3 == 0 else b"") for number in range(5200))
    async with held_open(connections):
        probe = await target.connect(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        target.figures.append(Figure(await probe.status() != 200, "probes unanswered", most=0))
        yield


@asynccontextmanager
async def invented_listeners(target: Target) -> AsyncIterator[None]:
    """Open 50 subscription streams under each of 20 refused tokens; then one for a caller who has read tasks before."""
    asked = {"notifications": {"resourceSubscriptions": ["luma://tasks/run-1"]}}
    message, headers = envelope("subscriptions/listen", asked, MODERN)
    requests = (raw(message, headers, f"junk-{number % 20}") for number in range(1000))
    connections = await in_parts(map(target.connect, requests), at_once=50)
    async with held_open(connections):
        honest = await target.connect(raw(message, headers, "honest"))
        target.figures.append(Figure(not await honest.hears(b"acknowledged"), "known listeners refused", most=0))
        honest.hang_up()
        yield


SHORT = {"head_seconds": "3", "body_seconds": "3", "keep_alive_seconds": "3", "write_seconds": "3"}

ROWS = (
    Case("300 clients with names of 250 KB", "300 MB more, for good", long_names),
    Case("1,000 abandoned batches of one token", "900 MB more; the next reader waited 45 s", abandoned_batches),
    Case("1,000 listeners of one token, 240 KB each", "6.9 MB each; no places left for others", many_listeners),
    Case("300 batches at once under unknown tokens", "an honest read took 21 s in place of 0.5", junk_tokens, 0.5),
    Case("8,000 finished tasks with long prompts", "892 MB", long_prompts, 0.0),
    Case("2,000 large answers that nobody reads", "held without end", slow_readers, 0.0, SHORT),
    Case("heads and addresses of 400 KB", "454 MB", endless_heads, 0.1, SHORT),
    Case("60 waits of 240 KB with an escaped name", "held whole; clients that left went unnoticed", large_waits),
    Case("20 answers in three layers of gzip", "470 MB each", packed_answers),
    Case("8 callers whose answers are 4 MiB made to cost", "1,032 MB", swelling_answers),
    Case("300 keyed purchases of refused tokens", "a key each in Redis for a day", failed_purchases, 0.1, FILE),
    Case("1,500 hung-up purchases under one key", "6,700 Redis commands/s", hung_up_purchases, 0.1, FILE),
    Case("6,000 purchases of made-up tokens that hung up", "732 MB", abandoned_purchases),
    Case("keyed purchases of one refused token, for 5 s", "807 keys a second in Redis", refused_purchases, 0.1, FILE),
    Case("1,500 idle and half-sent connections", "none was ever closed", unfinished_requests, 0.1, SHORT),
    Case("6,000 requests for no host and in no HTTP", "a line of log each", log_growth),
    Case("100 half-sent bodies under made-up tokens", "every call was refused", half_sent_bodies),
    Case("1,000 waits with 15 heads of 31 KB behind each", "665 MB", heads_sent_ahead),
    Case("28,000 answers of 57 KB that nobody reads", "1,091 MB with 3,900 connections", unread_answers, 0.0, SHORT),
    Case("2,500 waits under made-up tokens", "344 MB", invented_waits, 0.5),
    Case("bodies in chunks of one byte", "an honest read took 3.4 s", one_byte_chunks),
    Case("30 connections of one token that ask without end", "an honest read took 2.0 s", one_busy_token),
    Case("5,200 silent connections", "nobody else got in, probes neither", silent_connections),
    Case("1,000 listeners under made-up tokens", "no places left for others", invented_listeners),
)
