"""The latency of batches that are in Redis only, by the number of tokens and of tasks.

Requests are sent one after the other on one connection. No batch finds its tasks in the cache of the process.
"""

import json
import socket
import statistics
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.filling import preload_tasks
from tests.benchmarks.loads import batch, ids, load
from tests.benchmarks.processes import Running
from tests.benchmarks.rows import Bench, Row
from tests.support.service import MODERN

SIZE = 50
FEW_TASKS = 1_000
OWN_TASKS = 500_000
"""The tasks of one token. Those of the other TOKENS tokens make it a million."""

TOKENS = 10_000
SAMPLES = 400
ROUNDS = SAMPLES * SIZE // FEW_TASKS
FIRST_WARM = 2_000_000
"""The number of the first task of the warm-up."""


def latencies(bench: Bench) -> list[Row]:
    """Return the ratios of median latencies: a million tasks to a thousand, and ten thousand tokens to one."""
    with bench.service(bench.backend, on=bench.core) as service:
        _warm_up(bench, service)
        few = _few_tasks(bench, service)
        bench.redis.flush_all()
        others = ((f"token-{number}", SIZE * number, SIZE * (number + 1)) for number in range(TOKENS))
        preload_tasks(bench.redis, bench.backend.url, ("bench", 0, OWN_TASKS), *others)
        step = OWN_TASKS // SAMPLES
        many = _p50(service, (batch(ids(SIZE, first), MODERN) for first in range(0, OWN_TASKS, step)))
        asked = [batch(ids(SIZE, SIZE * number), MODERN, f"token-{number}") for number in range(TOKENS)]
        load(service.url, asked, amount=TOKENS, connections=4)  # each token has asked before
        tokens = _p50(service, asked[: TOKENS // 2 : TOKENS // 2 // SAMPLES])
    bench.redis.flush_all()
    what = "p50 of a batch of 50 that only Redis can answer"
    return [
        Row(f"{what}, with 10^6 tasks in it, to 10^3", many / few, "times", 1.15, at_least=False),
        Row(f"{what}, from 10,000 tokens, to one", tokens / many, "times", 1.15, at_least=False),
    ]


def _warm_up(bench: Bench, service: Running) -> None:
    first = FIRST_WARM
    preload_tasks(bench.redis, bench.backend.url, ("bench", first, first + 4 * SAMPLES * SIZE))
    _p50(service, (batch(ids(SIZE, first + SIZE * number), MODERN) for number in range(4 * SAMPLES)))


def _few_tasks(bench: Bench, service: Running) -> float:
    """Return the p50 (s) with 1,000 tasks in Redis. Each round has new tasks, because the process caches those read."""
    times = []
    for number in range(ROUNDS):
        first = OWN_TASKS + FEW_TASKS * number
        bench.redis.flush_all()
        preload_tasks(bench.redis, bench.backend.url, ("bench", first, first + FEW_TASKS))
        times += _times(service, (batch(ids(SIZE, at), MODERN) for at in range(first, first + FEW_TASKS, SIZE)))
    return statistics.median(times)


def _p50(service: Running, asked: Iterable[dict[str, Any]]) -> float:
    return statistics.median(_times(service, asked))


def _times(service: Running, asked: Iterable[dict[str, Any]]) -> list[float]:
    """Return the time of each answer (s). Raises AssertionError if one lacks a task."""
    address = urlsplit(service.url)
    times = []
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in asked:
            packed = _packed(request, address.netloc)
            started = time.perf_counter()
            connection.sendall(packed)
            body = _body(connection)
            times.append(time.perf_counter() - started)
            counts = json.loads(body)["result"]["structuredContent"]["result"]["counts"]
            assert counts["completed"] == SIZE, counts
    return times


def _packed(request: dict[str, Any], host: str) -> bytes:
    body: bytes = request["body"].encode()
    headers = {**request["headers"], "host": host, "content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode() + body


def _body(connection: socket.socket) -> bytes:
    received: bytes = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1 << 18)
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    parts: list[bytes] = [body]
    left = length - len(body)
    while left:
        parts.append(connection.recv(1 << 18))
        left -= len(parts[-1])
    return b"".join(parts)
