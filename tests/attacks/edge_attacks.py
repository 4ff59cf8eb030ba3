"""Attacks on the HTTP edge: on its scheduling, on the memory of its connections, and on their number."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.attacks.attacks import Case, going_on, held_open, in_parts, with_body
from tests.attacks.target import Target, batch, raw

LONG = [f"long-{index}" for index in range(200)]


def _array(messages: list[dict[str, Any]], token: str) -> bytes:
    """Return a request with a JSON-RPC batch."""
    return with_body(json.dumps(messages).encode(), {"accept": "application/json"}, token)


def _call(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _full(number: int) -> dict[str, Any]:
    asked = {"task_ids": LONG, "detail": "full"}
    return _call(number, "tools/call", name="luma_get_tasks_batch", arguments=asked)


async def _read_once(target: Target, request: bytes) -> None:
    connection = await target.connect(request)
    await connection.answer()
    connection.hang_up()


async def _warm(target: Target, tokens: int) -> None:
    """Read the tasks LONG once under each attacker's token, so that they are cached."""
    await in_parts((_read_once(target, raw(*batch(LONG), f"attacker-{n}")) for n in range(tokens)), at_once=4)


@asynccontextmanager
async def large_arrays(target: Target) -> AsyncIterator[None]:
    """Send a JSON-RPC array of 20 full batches of 200 tasks on 80 connections, under 8 tokens, and read nothing."""
    await _warm(target, 8)
    arrays = [_array([_full(number) for number in range(20)], f"attacker-{n}") for n in range(8)]
    connections = await in_parts(target.connect(arrays[number % 8], limit=2**10) for number in range(80))
    async with held_open(connections):
        yield


@asynccontextmanager
async def arrays_of_lists(target: Target) -> AsyncIterator[None]:
    """Send an array of 20 `tools/list` requests under each of 1,000 made-up tokens, and read nothing."""
    messages = [_call(number, "tools/list") for number in range(20)]
    requests = (_array(messages, f"invented-{number}") for number in range(1000))
    connections = await in_parts(target.connect(request, limit=2**10) for request in requests)
    async with held_open(connections):
        yield


@asynccontextmanager
async def half_sent_bodies_of_nobody(target: Target) -> AsyncIterator[None]:
    """Send the first byte of a body on each of 4,100 connections, without a token or (every fourth) a made-up one."""
    head = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 100\r\n"
    tokens = (b"authorization: Bearer invented-%d\r\n" % n if n % 4 == 0 else b"" for n in range(4100))
    connections = await in_parts(target.connect(head + token + b"\r\n{") for token in tokens)
    async with held_open(connections):
        yield


@asynccontextmanager
async def pages_without_end(target: Target) -> AsyncIterator[None]:
    """Pipeline 16 requests for the page at / on 300 connections, again after the 16 answers."""
    request = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 16

    async def keep_asking() -> None:
        connection = await target.connect(request)
        while True:
            for _ in range(16):
                await connection.answer()
            await connection.send(request)

    async with going_on(keep_asking() for _ in range(300)):
        await asyncio.sleep(1)
        yield


@asynccontextmanager
async def many_unread_answers(target: Target) -> AsyncIterator[None]:
    """Pipeline 5 requests for answers of 20 KB on each of 3,900 connections, under 60 tokens, and read nothing."""
    ids = [f"finished-{index}" for index in range(40)]
    await in_parts((_read_once(target, raw(*batch(ids), f"attacker-{n}")) for n in range(60)), at_once=4)
    requests = [raw(*batch(ids), f"attacker-{n}") * 5 for n in range(60)]
    opened = (target.connect(requests[number % 60], limit=2**10) for number in range(3900))
    connections = await in_parts(opened)
    async with held_open(connections):
        yield


@asynccontextmanager
async def many_large_batches(target: Target) -> AsyncIterator[None]:
    """Read 200 tasks with detail=full on 600 connections, under 60 tokens, again after each answer."""
    await _warm(target, 60)
    requests = [
        with_body(json.dumps(_full(1)).encode(), {"accept": "application/json"}, f"attacker-{n}") for n in range(60)
    ]

    async def keep_asking(number: int) -> None:
        connection = await target.connect(requests[number % 60])
        while True:
            await connection.answer()
            await connection.send(requests[number % 60])

    async with going_on(keep_asking(number) for number in range(600)):
        await asyncio.sleep(1)
        yield


@asynccontextmanager
async def lists_of_many_tokens(target: Target) -> AsyncIterator[None]:
    """Send `tools/list` on 100 connections under 100 made-up tokens, again after each answer."""

    async def keep_asking(number: int) -> None:
        request = with_body(
            json.dumps(_call(1, "tools/list")).encode(), {"accept": "application/json"}, f"invented-{number}"
        )
        connection = await target.connect(request)
        while True:
            await connection.answer()
            await connection.send(request)

    async with going_on(keep_asking(number) for number in range(100)):
        await asyncio.sleep(1)
        yield


EDGE_ROWS = (
    Case("80 JSON-RPC arrays of 20 full batches", "1,809 MB; others got 429", large_arrays),
    Case("1,000 arrays of 20 lists under made-up tokens", "an honest read ran out of 30 s", arrays_of_lists),
    Case("4,100 half-sent bodies of nobody", "nobody else got in for 30 s", half_sent_bodies_of_nobody),
    Case("300 connections that ask for the page without end", "an honest read took 1.4 s", pages_without_end),
    Case("19,500 answers of 20 KB that nobody reads", "291 MB", many_unread_answers, 0.0),
    Case(
        "600 connections that read 200 full tasks without end", "373 MB; an honest read took 5.8 s", many_large_batches
    ),
    Case("lists of tools under 100 made-up tokens", "an honest read took 1.6 s", lists_of_many_tokens),
)
