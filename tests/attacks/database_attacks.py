"""Attacks on the database: purchases of made-up tokens, and callbacks with a valid ticket."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import httpx

from tests.attacks.attacks import FILE, Case, rows
from tests.attacks.flooding import Client, flood
from tests.attacks.target import Figure, Target, batch, connect, raw
from tests.support.service import MODERN, envelope

PURCHASES = 20
SLOWEST_MS = 1000
CALLED_BACK = {**FILE, "public_url": "https://luma.example.com", "allowed_hosts": "*"}
NUMBERS = count()


def _purchase(token: str, key: str) -> bytes:
    arguments = {"prompt": "A fox", "idempotency_key": key}
    return raw(*envelope("tools/call", {"name": "luma_generate_video", "arguments": arguments}, MODERN), token)


async def buy(target: Target) -> bool:
    """Buy a video as the honest caller, and return whether that succeeded."""
    connection = await target.connect(_purchase("buyer-honest", f"honest-{next(NUMBERS)}"))
    result = await connection.result()
    connection.hang_up()
    return result is not None and "task_id" in result


async def measure_purchases(target: Target) -> None:
    """Buy PURCHASES videos as the honest caller, and add the median time and the failures to the figures."""
    seconds, failures = [], 0
    for _ in range(PURCHASES):
        started = time.perf_counter()
        failures += not await buy(target)
        seconds.append(time.perf_counter() - started)
    target.figures.append(Figure(statistics.median(seconds) * 1000, "ms, the median purchase", SLOWEST_MS))
    target.figures.append(Figure(failures, "purchases failed", 0))


@asynccontextmanager
async def purchases_beside(target: Target, client: Client, connections: int) -> AsyncIterator[None]:
    """Run `client` on some connections. The figures are an honest caller's purchases beside them."""
    assert await buy(target)  # the backend has accepted the honest caller's token before
    async with flood(target, client, connections):
        await measure_purchases(target)
        yield


async def buying(token: str, port: int, client: int) -> None:
    """Buy without end on one connection, each time with another key.

    `token` is a format of `client`, `of_forty` (as `client`, but one of forty numbers), and `number`, which is new for
    each purchase.
    """
    connection = await connect(port)
    for number in NUMBERS:
        name = token.format(client=client, of_forty=client % 40, number=f"{client}-{number}")
        await connection.send(_purchase(name, f"{client}-{number}"))
        await connection.answer()


@asynccontextmanager
async def purchases_under(target: Target, token: str, connections: int) -> AsyncIterator[None]:
    """Run `buying` under `token` on some connections."""
    async with purchases_beside(target, partial(buying, token), connections):
        yield


async def reading_batches(prefix: str, size: int, tokens: int, port: int, client: int) -> None:
    """Read batches of `size` tasks that are not cached, without end on one connection, under one of some tokens."""
    connection = await connect(port)
    for number in NUMBERS:
        ids = [f"{prefix}-{client}-{number}-{index}" for index in range(size)]
        await connection.send(raw(*batch(ids, detail="full"), f"buyer-{client % tokens}"))
        await connection.answer()


@asynccontextmanager
async def batches_of_accepted_tokens(target: Target) -> AsyncIterator[None]:
    """Read batches of 100 under three tokens on 120 connections."""
    async with purchases_beside(target, partial(reading_batches, "fresh", 100, 3), 120):
        yield


@asynccontextmanager
async def purchases_of_refused(target: Target, token: str) -> AsyncIterator[None]:
    """Buy under made-up tokens on 300 connections, and count the rows that this leaves."""
    async with purchases_under(target, token, 300):
        yield
    await asyncio.sleep(2)  # the rest of the purchases ends
    left = rows(target, "purchases", "state = 'refused'")
    target.figures.append(Figure(left, "rows of refused purchases", 0))


async def _bought_ticket(target: Target) -> dict[str, Any]:
    """Buy a video, and return the callback URL and the task id that the backend got and gave."""
    connection = await target.connect(_purchase("buyer-attacker", "mine"))
    await connection.result()
    connection.hang_up()
    async with httpx.AsyncClient() as http:
        bought: dict[str, Any] = (await http.get(f"{target.backend_url}/bought")).json()
    return bought


async def calling_back(path: str, task_id: str, port: int, _client: int) -> None:
    """Call back without end."""
    connection = await connect(port)
    for _ in count():
        named = {"task_id": task_id.format(next(NUMBERS)), "state": "completed"}
        body = json.dumps({**named, "success": True, "response": named}).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
        await connection.send(head.encode() + body)
        await connection.answer()


@asynccontextmanager
async def _under_callbacks(target: Target, task_id: str | None) -> AsyncIterator[None]:
    bought = await _bought_ticket(target)
    path = "/" + bought["url"].split("/", 3)[3]
    async with purchases_beside(target, partial(calling_back, path, task_id or bought["task_id"]), 300):
        yield


@asynccontextmanager
async def replayed_callbacks(target: Target) -> AsyncIterator[None]:
    """Send one valid callback again without end on 300 connections."""
    async with _under_callbacks(target, None):
        yield


@asynccontextmanager
async def callbacks_about_others(target: Target) -> AsyncIterator[None]:
    """Send callbacks with one valid ticket on 300 connections, each about another task."""
    async with _under_callbacks(target, "other-{}"):
        yield


DATABASE_ROWS = (
    Case(
        "300 connections that buy under made-up tokens",
        "a purchase took 2.0 s; 3 of 4 failed",
        partial(purchases_of_refused, token="junk-{number}"),
        0.1,
        FILE,
    ),
    Case(
        "300 connections that buy under 300 made-up tokens again and again",
        "a purchase took 1.2 s",
        partial(purchases_of_refused, token="junk-{client}"),
        0.1,
        FILE,
    ),
    Case(
        "100 connections that buy under one token",
        "a purchase took 2.9 s",
        partial(purchases_under, token="buyer-customer", connections=100),
        0.1,
        FILE,
    ),
    Case(
        "400 connections that buy under forty tokens",
        "a purchase took 6.5 s",
        partial(purchases_under, token="buyer-{of_forty}", connections=400),
        0.1,
        FILE,
    ),
    Case(
        "120 connections that read batches under three tokens",
        "a purchase took 1.5 s",
        batches_of_accepted_tokens,
        0.1,
        FILE,
    ),
    Case("300 connections that repeat a callback", "a purchase took 2.3 s", replayed_callbacks, 0.1, CALLED_BACK),
    Case(
        "300 connections with callbacks about other tasks",
        "a purchase took 3.0 s",
        callbacks_about_others,
        0.1,
        CALLED_BACK,
    ),
)
