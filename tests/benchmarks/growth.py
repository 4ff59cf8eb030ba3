"""Scaling curves: cost by batch size, tasks in Redis, tokens, and waiting callers."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.benchmarks.filling import preload_tasks
from tests.benchmarks.loads import batch, call, ids, load
from tests.benchmarks.processes import PYTHON, serving
from tests.benchmarks.rows import Bench
from tests.support.raw_http import answer_head
from tests.support.service import MODERN, call_bytes

BATCHES = (1, 10, 50, 100, 200)
CACHED = (1_000, 10_000, 100_000, 1_000_000)
TOKENS = (1, 100, 1_000, 10_000)
WAITING = (1, 1_000, 2_000)
WAIT_SECONDS = 4
WAITING_TOKENS = 100
ROOM_TO_WAIT = {"request_memory_mb": "256"}
"""With the default of 48 MB some 900 calls may wait at once."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve: the count, and the figures by name."""

    count: int
    figures: dict[str, float]


def batch_sizes(bench: Bench) -> list[Point]:
    """Measure the rate of cached batches by batch size."""
    with bench.service(bench.backend, on=bench.core) as service:
        points = []
        for count in BATCHES:
            asked = [batch(ids(count), MODERN)]
            load(service.url, asked, seconds=0.5)
            rate = load(service.url, asked, seconds=1.0).rate
            points.append(Point(count, {"calls/s": rate, "ids/s": rate * count}))
        return points


def cached_tasks(bench: Bench) -> list[Point]:
    """Measure the rate of batches of 50 from Redis, and its memory, by the number of tasks in it.

    From 10,000 tasks on, no batch finds its tasks in the cache of the process.
    """
    bench.redis.flush_all()
    points, filled = [], 0
    for count in CACHED:
        preload_tasks(bench.redis, bench.backend.url, ("bench", filled, count))
        filled = count
        # More ids than the process caches, in a cycle: each one is evicted before it is asked for again.
        asked = [batch(ids(50, first), MODERN) for first in range(0, min(count, 200_000) - 49, 50)]
        with bench.service(bench.backend, on=bench.core) as service:
            rate = load(service.url, asked, seconds=2.0, connections=4).rate
        with bench.redis.client() as client:
            memory = client.info("memory")["used_memory"]
        points.append(Point(count, {"calls/s": rate, "Redis MB": memory / 1e6, "bytes a task": memory / count}))
    bench.redis.flush_all()
    return points


def tokens(bench: Bench) -> list[Point]:
    """Measure the rate of batches of 10 that are in Redis, and the service's memory, by the number of tokens."""
    points, filled = [], 0
    with bench.service(bench.backend, on=bench.core) as service:
        for count in TOKENS:
            asked = [batch(ids(10, 10 * number), MODERN, f"token-{number}") for number in range(count)]
            preload_tasks(
                bench.redis,
                bench.backend.url,
                *((f"token-{number}", 10 * number, 10 * number + 10) for number in range(filled, count)),
            )
            filled = count
            load(service.url, asked, amount=500)
            rate = load(service.url, asked, seconds=1.5).rate
            points.append(Point(count, {"calls/s": rate, "MB": service.megabytes()}))
    return points


def waiting_callers(bench: Bench) -> list[Point]:
    """Measure another call's latency, the service's cost and the backend calls, by the number of waiting callers."""
    command = [PYTHON, "-m", "tests.benchmarks.backend", "--running"]
    bench.redis.flush_all()
    points = []
    with serving(command, {}, on=bench.others) as backend:
        for count in WAITING:
            with bench.service(backend, on=bench.core, settings=ROOM_TO_WAIT) as service:
                points.append(Point(count, asyncio.run(_while_waiting(service, backend.url, count))))
    return points


async def _while_waiting(service: Any, backend_url: str, count: int) -> dict[str, float]:
    port = urlsplit(service.url).port
    async with httpx.AsyncClient() as client:
        idle = service.megabytes()
        # One call each, so that the service knows the tokens.
        await asyncio.gather(*(_wait(port, number, wait_seconds=0) for number in range(WAITING_TOKENS)))
        seen = (await client.get(backend_url)).json()["calls"]
        waiting = [asyncio.create_task(_wait(port, number)) for number in range(count)]
        await asyncio.sleep(WAIT_SECONDS / 2)
        busy, before = service.cpu_seconds(), time.monotonic()
        latency = await _latency(client, service.url)
        grown = service.megabytes() - idle
        await asyncio.gather(*waiting)
        calls = (await client.get(backend_url)).json()["calls"] - seen
        share = (service.cpu_seconds() - busy) / (time.monotonic() - before)
    return {"ms for another call": latency, "MB more": grown, "share of a core": share,
            "backend calls/s": calls / WAIT_SECONDS}  # fmt: skip


async def _wait(port: int | None, number: int, wait_seconds: float = WAIT_SECONDS) -> None:
    """Wait for tasks on a raw connection, because an HTTP client would take longer than the service."""
    arguments = {"task_ids": ids(5, number * 5), "wait_seconds": wait_seconds}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(call_bytes("luma_get_tasks_batch", arguments, f"token-{number % WAITING_TOKENS}"))
    status, length = await answer_head(reader)
    assert status == 200, status
    await reader.readexactly(length)
    writer.close()


async def _latency(client: httpx.AsyncClient, url: str) -> float:
    asked = call("luma_list_aspect_ratios", {}, MODERN)
    times = []
    for _ in range(50):
        started = time.perf_counter()
        (await client.post(url, content=asked["body"], headers=asked["headers"])).raise_for_status()
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)[25]


def curves(
    bench: Bench, timed: Callable[[str, Callable[[], Sequence[Point]]], Sequence[Point]]
) -> dict[str, Sequence[Point]]:
    """Measure every curve by name, each through `timed`, which gets the name and the function to call."""
    measured: dict[str, Callable[[Bench], Sequence[Point]]] = {
        "ids in a batch": batch_sizes,
        "tasks in Redis": cached_tasks,
        "tokens": tokens,
        "waiting callers": waiting_callers,
    }
    return {what: timed(what, partial(curve, bench)) for what, curve in measured.items()}
