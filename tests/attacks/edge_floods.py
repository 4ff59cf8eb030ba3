"""Floods: waits for many tasks, probes with large heads, and refused clients that reconnect at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count

from tests.attacks.attacks import Case, going_on, held_open, in_parts, with_body
from tests.attacks.flooding import flood
from tests.attacks.target import MAX_SECONDS, PROBE, Connection, Figure, Target, batch, connect, raw
from tests.support.service import MODERN, envelope

LARGE_PROBE = (
    b"GET /livez?%b HTTP/1.1\r\nhost: 127.0.0.1\r\n" % (b"q" * 4_000)
    + b"".join(b"h%d: %b\r\n" % (number, b"b" * 280) for number in range(96))
    + b"\r\n"
)
PROBES = 10


async def _probe(target: Target) -> None:
    """Probe /livez PROBES times and add the slowest time to the figures."""
    seconds = []
    for _ in range(PROBES):
        seconds.append(await target.probe_seconds())
        await asyncio.sleep(0.6)
    slowest = max(MAX_SECONDS if one is None else one for one in seconds)
    target.figures.append(Figure(slowest * 1000, "ms, the slowest probe", 1000))


@asynccontextmanager
async def many_awaited_tasks(target: Target) -> AsyncIterator[None]:
    """Start 640 waits under 40 tokens, each for 200 tasks that no other call waits for."""
    calls = [
        raw(*batch([f"{call}-{number}" for number in range(200)], wait_seconds=50), f"invented-{call % 40}")
        for call in range(640)
    ]
    async with held_open(await in_parts((target.connect(call, limit=2**12) for call in calls), at_once=64)):
        await asyncio.sleep(5)  # the probes measure the cost of polling, not of starting the waits
        await _probe(target)
        yield


async def _keep_probing(connection: Connection, after_seconds: float) -> None:
    await asyncio.sleep(after_seconds)
    await connection.send(LARGE_PROBE)
    while await connection.status():
        await connection.hears(b"\r\n\r\n")
        await connection.send(LARGE_PROBE)


@asynccontextmanager
async def large_probes(target: Target) -> AsyncIterator[None]:
    """Keep probing with heads of 32 KB on 3,200 connections, which start in groups of 100, beside 700 waits."""
    waits = [raw(*batch([f"run-{number}"], wait_seconds=50), f"invented-{number}") for number in range(700)]
    waiting = await in_parts(target.connect(wait, limit=2**10) for wait in waits)
    probing = await in_parts((target.connect(limit=2**10) for _ in range(3200)), at_once=200)
    async with (
        held_open(waiting + probing),
        going_on(_keep_probing(one, number // 100 * 0.06) for number, one in enumerate(probing)),
    ):
        await asyncio.sleep(5)
        yield


async def probing_or_listing(port: int, client: int) -> None:
    """Probe /livez without end; every sixth client lists tools under a made-up token."""
    message, headers = envelope("tools/list", {}, MODERN)
    request = PROBE if client % 6 else raw(message, headers, f"invented-{client}")
    connection = await connect(port)
    for _ in count():
        await connection.send(request)
        await connection.answer()


@asynccontextmanager
async def many_probes(target: Target) -> AsyncIterator[None]:
    """Probe /livez on 2,500 connections, beside 500 that list tools under made-up tokens; then probe once more."""
    async with flood(target, probing_or_listing, 3000):
        await _probe(target)
        yield


def _half_body(token: str, size: int) -> bytes:
    whole = with_body(b"{" + b"a" * 261_000, batch(["run-half"])[1], token)
    head, _, body = whole.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + body[:size]


@asynccontextmanager
async def refused_that_come_again(target: Target) -> AsyncIterator[None]:
    """Use up the memory allowance of two tokens, and let 200 of their clients reconnect after each refusal."""
    sizes = [250_000] * 21 + [190_000]
    halves = [_half_body(f"attacker-{number}", size) for number in range(2) for size in sizes]
    calls = [raw(*batch([f"refused-{number}"]), f"attacker-{number % 2}") for number in range(200)]

    async def come_again(call: bytes) -> None:
        while True:
            with suppress(OSError):
                connection = await target.connect(call, limit=2**12)
                await connection.status()
                connection.hang_up()

    async with held_open(await in_parts(target.connect(half) for half in halves)), going_on(map(come_again, calls)):
        await asyncio.sleep(8)
        asked = (target.probe_seconds(raw(*batch([f"new-{number}"]), "honest")) for number in range(15))
        unanswered = [await one for one in asked].count(None)
        target.figures.append(Figure(unanswered, "of 15 new connections unanswered", 0))
        yield


FLOODS = (
    Case("640 calls of 40 tokens that wait for 200 tasks each", "a probe took 62 s", many_awaited_tasks),
    Case("3,200 probes with heads of 32 KB beside 700 waits", "333 MB", large_probes),
    Case("2,500 connections that probe without end", "a probe took 6.7 s", many_probes),
    Case("200 refused clients that come again at once", "11 of 15 new connections unanswered", refused_that_come_again),
)
