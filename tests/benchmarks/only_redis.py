"""Batches that only Redis can answer: how long one takes, by how many tokens ask and how many tasks there are.

Requests follow one another on one connection, so that a time is that of one call; nothing is asked for while its tasks
are copied in the process.
"""

import json
import socket
import statistics
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.filling import fill
from tests.benchmarks.loads import batch, ids, load
from tests.benchmarks.processes import Running
from tests.benchmarks.rows import Bench, Row
from tests.support.service import MODERN

SIZE = 50
FEW_TASKS = 1_000
OWN_TASKS = 500_000
"""Of the one token; with those of all the others there are a million."""

TOKENS = 10_000
SAMPLES = 400
ROUNDS = SAMPLES * SIZE // FEW_TASKS
FIRST_WARM = 2_000_000
"""The number of the first task that is asked for before anything is measured."""


def latencies(bench: Bench) -> list[Row]:
    """Return what ten thousand tokens in the place of one, and a million tasks in the place of a thousand, change."""
    with bench.service(bench.backend, on=bench.core) as service:
        _warm_up(bench, service)
        few = _few_tasks(bench, service)
        bench.redis.empty()
        others = ((f"token-{number}", SIZE * number, SIZE * (number + 1)) for number in range(TOKENS))
        fill(bench.redis, bench.backend.url, ("bench", 0, OWN_TASKS), *others)
        step = OWN_TASKS // SAMPLES
        many = _p50(service, (batch(ids(SIZE, first), MODERN) for first in range(0, OWN_TASKS, step)))
        asked = [batch(ids(SIZE, SIZE * number), MODERN, f"token-{number}") for number in range(TOKENS)]
        load(service.url, asked, amount=TOKENS, connections=4)  # each token has asked before
        tokens = _p50(service, asked[: TOKENS // 2 : TOKENS // 2 // SAMPLES])
    bench.redis.empty()
    what = "p50 of a batch of 50 that only Redis can answer"
    return [
        Row(f"{what}, with 10^6 tasks in it, to 10^3", many / few, "times", 1.15, at_least=False),
        Row(f"{what}, from 10,000 tokens, to one", tokens / many, "times", 1.15, at_least=False),
    ]


def _warm_up(bench: Bench, service: Running) -> None:
    first = FIRST_WARM
    fill(bench.redis, bench.backend.url, ("bench", first, first + 4 * SAMPLES * SIZE))
    _p50(service, (batch(ids(SIZE, first + SIZE * number), MODERN) for number in range(4 * SAMPLES)))


def _few_tasks(bench: Bench, service: Running) -> float:
    """Return the p50, in s, with 1,000 tasks in Redis: other ones each time, for those asked for are soon copied."""
    times = []
    for number in range(ROUNDS):
        first = OWN_TASKS + FEW_TASKS * number
        bench.redis.empty()
        fill(bench.redis, bench.backend.url, ("bench", first, first + FEW_TASKS))
        times += _times(service, (batch(ids(SIZE, at), MODERN) for at in range(first, first + FEW_TASKS, SIZE)))
    return statistics.median(times)


def _p50(service: Running, asked: Iterable[dict[str, Any]]) -> float:
    return statistics.median(_times(service, asked))


def _times(service: Running, asked: Iterable[dict[str, Any]]) -> list[float]:
    """Return how long each answer took, in s; each must have all of its tasks."""
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
