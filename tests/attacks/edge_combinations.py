"""Attacks that reach several limits of the HTTP edge at once. The memory limit is the same as for a single one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.attacks.attacks import Case, answered_once, held_open, in_parts, long_prompts, swelling_answers
from tests.attacks.flooding import flood
from tests.attacks.target import Connection, Target, batch, connect, raw
from tests.support.service import LEGACY, MODERN, envelope

HEADERS = "".join(f"h{number}: bb\r\n" for number in range(85)).encode()
START = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n" + HEADERS + b"content-type: application/json\r\n"
HALF = b"content-length: 200000\r\n\r\n" + b"{" * 60_000
TOKENS, READERS, LISTENING_TOKENS = 60, 24, 5
"""The numbers of attackers' tokens that the backend accepts, of those that read without end, and of those that listen.

Others attack with made-up tokens or none.
"""


def _wait(number: int) -> bytes:
    call = raw(*batch([f"run-{number}"], wait_seconds=50), f"customer-{number % TOKENS}")
    return call.replace(b"\r\n", b"\r\n" + HEADERS, 1)


def _streamed_wait(number: int, era: str) -> bytes:
    arguments = {"task_ids": [f"run-{number}"], "wait_seconds": 50}
    message, headers = envelope("tools/call", {"name": "luma_get_tasks_batch", "arguments": arguments}, era)
    message["params"].setdefault("_meta", {})["progressToken"] = number
    return raw(message, headers, f"customer-{number % TOKENS}").replace(b"\r\n", b"\r\n" + HEADERS, 1)


def _listener(number: int) -> bytes:
    """Return a request for a stream about 100 finished tasks with long prompts."""
    uris = [f"luma://tasks/long-{number}-{index}" for index in range(100)]
    message, headers = envelope("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}, MODERN)
    return raw(message, headers, f"customer-{number % LISTENING_TOKENS}")


def _half(number: int) -> bytes:
    token = b"authorization: Bearer invented-%d\r\n" % number if number % 2 else b""
    return START + token + HALF


async def _accept(target: Target) -> None:
    await in_parts(
        answered_once(target, raw(*batch([f"first-{number}"]), f"customer-{number}")) for number in range(TOKENS)
    )


async def _waits(target: Target, count: int) -> list[Connection]:
    await _accept(target)
    return await in_parts((target.connect(_wait(number), limit=2**10) for number in range(count)), at_once=60)


@asynccontextmanager
async def waits_and_half_bodies(target: Target) -> AsyncIterator[None]:
    """Start 2,500 waits with 85 headers each under 60 accepted tokens; then send 60 KB of 1,400 bodies of 200 KB."""
    connections = await _waits(target, 2500)
    halves = (target.connect(_half(number), limit=2**10) for number in range(1400))
    async with held_open(connections + await in_parts(halves, at_once=60)):
        yield


@asynccontextmanager
async def waits_and_half_heads(target: Target) -> AsyncIterator[None]:
    """Start 2,500 waits under 60 accepted tokens; then send 1,400 unfinished heads of 30 KB."""
    connections = await _waits(target, 2500)
    head = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n" + HEADERS + b"x: " + b"a" * 29_000
    heads = (target.connect(head, limit=2**10) for _ in range(1400))
    async with held_open(connections + await in_parts(heads, at_once=60)):
        yield


@asynccontextmanager
async def streams_and_half_heads(target: Target) -> AsyncIterator[None]:
    """Read 8,000 tasks with long prompts, start 2,500 waits that report progress, and send half heads of 30 KB."""
    await _accept(target)
    async with long_prompts(target):
        pass
    streams = (target.connect(_streamed_wait(n, MODERN), limit=2**10) for n in range(2500))
    waits = await in_parts(streams, at_once=60)
    head = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n" + HEADERS + b"x: " + b"a" * 29_000
    heads = (target.connect(head, limit=2**10) for _ in range(1400))
    async with held_open(waits + await in_parts(heads, at_once=60)):
        yield


async def _reading_long_prompts(port: int, client: int) -> None:
    """Read 200 unknown tasks with the longest prompts in one batch, again and again on one connection."""
    connection = await connect(port, limit=2**20)
    try:
        while True:
            ids = [f"long-{client}-{time.monotonic_ns()}-{index}" for index in range(200)]
            await connection.send(raw(*batch(ids, detail="full"), f"customer-{client % TOKENS}"))
            await connection.answer()
    finally:
        connection.hang_up()


@asynccontextmanager
async def streams_half_heads_and_readers(target: Target) -> AsyncIterator[None]:
    """Read long prompts under 24 tokens, beside 2,500 waits that report progress and 1,400 half heads of 30 KB."""
    async with streams_and_half_heads(target), flood(target, _reading_long_prompts, READERS):
        await asyncio.sleep(10)
        yield


@asynccontextmanager
async def listeners_beside_all_of_these(target: Target) -> AsyncIterator[None]:
    """Hold 45 streams about 4,500 finished tasks with long prompts, beside `streams_half_heads_and_readers`."""
    await _accept(target)
    listeners = (target.connect(_listener(number), limit=2**10) for number in range(45))
    async with held_open(await in_parts(listeners, at_once=5)), streams_half_heads_and_readers(target):
        yield


@asynccontextmanager
async def turns_of_heads_and_streams(target: Target) -> AsyncIterator[None]:
    """Send half heads of 88 fields, hang up, start 2,400 waits that report progress as before 2026, and send more."""
    await _accept(target)
    head = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"".join(b"x%d: %b\r\n" % (n, b"y" * 330) for n in range(88))
    heads = [target.connect(head, limit=2**10) for _ in range(2400)]
    async with held_open(await in_parts(heads, at_once=60)):
        pass
    streams = (target.connect(_streamed_wait(n, LEGACY[-1]), limit=2**10) for n in range(2400))
    waits = await in_parts(streams, at_once=60)
    heads = [target.connect(head, limit=2**10) for _ in range(1400)]
    async with held_open(waits + await in_parts(heads, at_once=60)):
        yield


@asynccontextmanager
async def waits_and_unread_answers(target: Target) -> AsyncIterator[None]:
    """Start 1,500 waits under 60 accepted tokens; then leave 10 answers of 57 KB unread on 2,000 connections each."""
    connections = await _waits(target, 1500)
    ids = [f"finished-{index}" for index in range(200)]
    await in_parts(
        (answered_once(target, raw(*batch(ids), f"customer-{number}")) for number in range(TOKENS)), at_once=4
    )
    calls = [raw(*batch(ids), f"customer-{number}") * 10 for number in range(TOKENS)]
    readers = (target.connect(calls[number % TOKENS], limit=2**10) for number in range(2000))
    async with held_open(connections + await in_parts(readers, at_once=50)):
        yield


@asynccontextmanager
async def waits_and_swelling_answers(target: Target) -> AsyncIterator[None]:
    """Start 2,500 waits under 60 accepted tokens, beside the attack `swelling_answers`."""
    async with held_open(await _waits(target, 2500)), swelling_answers(target):
        await asyncio.sleep(3)
        yield


@asynccontextmanager
async def new_tokens_in_waves(target: Target) -> AsyncIterator[None]:
    """Send a read under each of 3,500 tokens at once, six times over. The backend has accepted none of them before."""
    for _ in range(5):
        await _wave(target)
    wave = asyncio.create_task(_wave(target))
    await asyncio.sleep(1.5)  # most of the calls are queued by then
    yield
    await wave


async def _wave(target: Target) -> None:
    await asyncio.gather(
        *(answered_once(target, raw(*batch([f"new-{number}"]), f"new-{number}")) for number in range(3500))
    )


COMBINATIONS = (
    Case(
        "2,500 waits, then 1,400 half-sent bodies of 60 KB", "342 MB; an honest caller got 429", waits_and_half_bodies
    ),
    Case("2,500 waits, then 1,400 half heads of 30 KB", "", waits_and_half_heads),
    Case("2,500 waits that report progress, then half heads", "254 MB", streams_and_half_heads, 0.05),
    Case(
        "2,500 waits that report progress, half heads, and 24 readers of long prompts",
        "278 MB",
        streams_half_heads_and_readers,
        0.05,
    ),
    Case("the same beside 45 idle listeners of 4,500 finished tasks", "263 MB", listeners_beside_all_of_these, 0.05),
    Case("half heads and 2,400 waits that report progress, in turns", "290 MB", turns_of_heads_and_streams, 0.05),
    Case("1,500 waits, then 20,000 answers that nobody reads", "", waits_and_unread_answers, 0.0),
    Case("2,500 waits beside 8 callers whose answers are made to cost", "", waits_and_swelling_answers),
    Case("3,500 new tokens at once, six times over", "312 MB", new_tokens_in_waves, 0.05),
)
