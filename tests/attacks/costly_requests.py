"""Attacks with small requests that take long: to read them, or to decode what the backend answers."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial
from itertools import count
from typing import Any

from app.mcp_server.tools.arguments import BatchArguments
from app.mcp_server.tools.coercion import nearest
from tests.attacks.attacks import FILE, Case, with_body
from tests.attacks.database_attacks import purchases_beside, reading_batches
from tests.attacks.flooding import flood
from tests.attacks.target import Target, connect
from tests.support.service import MODERN, envelope

NAMES = 18_500

HEADS = (b"GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"a:\r\n" * 95 + b"\r\n") * 14
PIPELINED = (
    b"GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    + HEADS
    + b"POST /x HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"1\r\nx\r\n" * 9_000
    + b"0\r\n\r\n"
)


@cache
def _names() -> dict[str, int]:
    """Return names of arguments that are compared with `task_ids` for long, and are none of its misspellings."""
    letters, names = random.Random(3), dict[str, int]()
    while len(names) < NAMES:
        name = "".join(letters.choices("task_idswaon", k=8))
        if nearest(BatchArguments, name) != "task_ids":
            names[name] = 0
    return names


@cache
def _call(kind: str) -> bytes:
    arguments = _names() if kind == "names" else {"task_ids": [1] * 100_000}
    message, headers = envelope("tools/call", {"name": "luma_get_tasks_batch", "arguments": arguments}, MODERN)
    return with_body(json.dumps(message, separators=(",", ":")).encode(), headers, "attacker")


async def calling_with_names(port: int, _client: int) -> None:
    """Call the tool for batches with many unknown arguments."""
    await _sending(port, _call("names"))


async def calling_with_numbers(port: int, _client: int) -> None:
    """Call the tool for batches with 100,000 numbers in the place of ids."""
    await _sending(port, _call("numbers"))


async def _sending(port: int, request: bytes) -> None:
    connection = await connect(port)
    for _ in count():
        await connection.send(request)
        await connection.answer()


BLANKS = b'{"jsonrpc": "2.0", "id":' + b" " * 255_000 + b'null, "method": "ping"}'


async def sending_blanks(port: int, client: int) -> None:
    """Send a body of blanks with a token of the client's own, again and again."""
    await _sending(port, with_body(BLANKS, {"mcp-protocol-version": MODERN}, f"made-up-{client}"))


@asynccontextmanager
async def blanks(target: Target) -> AsyncIterator[None]:
    """Send bodies of 250 KB of blanks on 60 connections."""
    async with flood(target, sending_blanks, 60):
        yield


@asynccontextmanager
async def unknown_arguments(target: Target) -> AsyncIterator[None]:
    """Send calls with 18,500 names of unknown arguments on 10 connections under one token."""
    async with flood(target, calling_with_names, 10):
        yield


@asynccontextmanager
async def wrong_items(target: Target) -> AsyncIterator[None]:
    """Send calls with 100,000 wrong ids on 10 connections under one token."""
    async with flood(target, calling_with_numbers, 10):
        yield


async def pipelining(port: int, _client: int) -> None:
    """Pipeline 14 requests with many short headers and a body in many chunks, and read what comes."""
    connection = await connect(port, PIPELINED)
    await connection.is_closed_within(1)
    connection.hang_up()


@asynccontextmanager
async def short_headers(target: Target) -> AsyncIterator[None]:
    """Pipeline heads with 95 headers of 4 bytes, and a body in 9,000 chunks, on 12 connections without a token."""
    async with flood(target, pipelining, 12):
        yield


@cache
def _validated(kind: str) -> bytes:
    params: dict[str, Any] = {"name": "luma_list_actions", "arguments": {}}
    message, headers = envelope("tools/call", params, MODERN)
    content = {"type": "tool_result", "toolUseId": "", "content": [0] * 98_000}
    if kind == "responses":
        message["params"]["inputResponses"] = {"a": {"role": "user", "model": "m", "content": content}}
    else:
        message["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["icons"] = [0] * 98_000
    return with_body(json.dumps(message, separators=(",", ":")).encode(), headers, "attacker")


async def responding(port: int, _client: int) -> None:
    """Call a tool with 98,000 values in a response to a question."""
    await _sending(port, _validated("responses"))


async def with_icons(port: int, _client: int) -> None:
    """Call a tool as a client with 98,000 icons."""
    await _sending(port, _validated("icons"))


@asynccontextmanager
async def long_responses(target: Target) -> AsyncIterator[None]:
    """Send responses to questions, each of 200 KB, on 2 connections of one token."""
    async with flood(target, responding, 2):
        yield


@asynccontextmanager
async def many_icons(target: Target) -> AsyncIterator[None]:
    """Send client information of 200 KB, on 4 connections of one token."""
    async with flood(target, with_icons, 4):
        yield


@asynccontextmanager
async def batches_of_two_megabytes(target: Target) -> AsyncIterator[None]:
    """Read batches of 200 under one token on 11 connections. Each is 2 MB that takes 50 ms to decode and translate."""
    async with purchases_beside(target, partial(reading_batches, "hide", 200, 1), 11):
        yield


COSTLY_ROWS = (
    Case("10 connections with 18,500 unknown arguments", "an honest read took 6.2 s", unknown_arguments),
    Case("10 connections with 100,000 wrong ids", "", wrong_items),
    Case("60 connections with 250 KB of blanks", "an honest read took 1.2 s", blanks),
    Case("2 connections with 98,000 values in a response", "623 MB, an honest read took 6.5 s", long_responses),
    Case("4 connections with 98,000 icons of the client", "an honest read took 11.6 s", many_icons),
    Case("12 connections with pipelined short headers and chunks", "an honest read took 3.6 s", short_headers),
    Case(
        "11 connections that read batches of 2 MB",
        "a purchase took 1.2 s",
        batches_of_two_megabytes,
        0.1,
        FILE,
    ),
)
