"""The benchmark measurements, and the bounds of the rates.

The "bare route" is the server that the service is compared with: a Starlette route with one MGET (`limit.py`).
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests.benchmarks.filling import KEY, preload_tasks
from tests.benchmarks.loads import CONNECTIONS, bare, batch, call, ids, load
from tests.benchmarks.processes import FASTMCP_PYTHON, PYTHON, SERVICE, Running, serving
from tests.support.redis_server import RedisServer
from tests.support.service import MODERN

LEGACY = "2025-11-25"
PROMISED = {(50, MODERN): 0.50, (50, LEGACY): 0.33}
"""The least rate of cached batches, as a share of the bare route's, by batch size and protocol revision."""

COMPARED = (*PROMISED, (1, MODERN))
"""The cases that are measured against the bare route.

Batches of 1 have no bound: protocol overhead dominates their latency.
"""

PROMISED_FROM_REDIS = {MODERN: 0.40, LEGACY: 0.28}
"""The same for batches of 50 that are in Redis but not in the cache of the process."""

IN_REDIS = 200_000
"""The tasks that such batches cycle through: far more than the process caches."""

SDK_ALONE = "the SDK's session manager only"
NO_OVERRIDES: Mapping[str, str] = {}
"""Overrides of no setting of the service."""

DELAY_SECONDS = 0.1
MIXED_CALLS, MIXED_TOKENS, MIXED_TASKS = 200_000, 1_000, 100_000
HOT_CALL_FRACTION, HOT_TOKENS, HOT_TASKS = 0.8, 100, 30
"""The fraction HOT_CALL_FRACTION of the calls comes from HOT_TOKENS tokens and is about HOT_TASKS tasks of each. The
others are spread over all tokens and tasks."""

PRELOADED_TOKENS = 900
"""The number of tokens whose tasks are in Redis at the start. The tasks of the others must be read from the backend."""

UNCACHED_READS = 500
RUNNING_TASKS_PER_TOKEN = 20
"""The number of running tasks of one token at a time: an estimate for a busy member of a team."""


@dataclass(frozen=True, slots=True)
class Row:
    """One promised figure: name, value, unit, and its bound, which is a minimum if `at_least`, else a maximum."""

    name: str
    value: float
    unit: str
    bound: float
    at_least: bool = True

    @property
    def holds(self) -> bool:
        """Whether the value is within the bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


BenchmarkCase = tuple[str, str, str, Sequence[dict[str, Any]]]
"""A measurement of one server in one case: server name, case name, URL, and the requests."""


def redis_case_name(era: str) -> str:
    """Return the name of the case with batches that are in Redis only."""
    return f"batch of 50 out of Redis, {era}"


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers per second of one server in one case: the median, each round, and the size of an answer in bytes."""

    name: str
    case: str
    median: float
    rounds: tuple[float, ...]
    bytes: int


class Bench:
    """The measurements. The measured server runs on `core`; Redis, the backend and the load run on `others`."""

    def __init__(self, stack: ExitStack, *, core: Sequence[int], others: Sequence[int], rounds: int) -> None:
        """Start Redis and the backend, which `stack` ends."""
        self._stack = stack
        self.core = core
        self.others = others
        self._rounds = rounds
        self.redis = RedisServer()
        stack.callback(self.redis.close)
        self.redis.start()
        self.backend = self._backend(0.0)

    def _backend(self, delay_seconds: float, *options: str) -> Running:
        command = [PYTHON, "-m", "tests.benchmarks.backend", "--delay", str(delay_seconds), *options]
        return self._stack.enter_context(serving(command, {}, on=self.others))

    def service(
        self, backend: Running, *, on: Sequence[int], workers: int = 1, settings: Mapping[str, str] = NO_OVERRIDES
    ) -> Any:
        """Return a context manager that runs the service over `backend` and this run's Redis."""
        given = {"acedata_url": backend.url.removesuffix("/mcp"), "redis_url": self.redis.url, "secret_key": KEY}
        return serving([*SERVICE, "--workers", str(workers)], {**given, **settings}, on=on)

    def rates(self) -> list[Rate]:
        """Measure each server in its cases. Each round measures all of them in turn."""
        with ExitStack() as stack:
            service = stack.enter_context(self.service(self.backend, on=self.core))
            limit = stack.enter_context(
                serving([PYTHON, "-m", "tests.benchmarks.limit", self.redis.url], {}, on=self.core)
            )
            cases: list[BenchmarkCase] = []
            for count, era in COMPARED:
                case, asked = f"batch of {count}, {era}", batch(ids(count), era)
                size = len(_post(service.url, asked))
                self._preload_bare_values(size, count)
                cases += [("service", case, service.url, [asked]), ("bare", case, limit.url, [bare(size, count)])]
            cases += self._redis_cases(service.url)
            asked = batch(ids(50), MODERN)
            sdk = stack.enter_context(self._sdk_server(_post(service.url, asked)))
            fastmcp = stack.enter_context(self._fastmcp_server())
            cases += [
                (name, f"batch of 50, {MODERN}", run.url, [asked])
                for name, run in (("SDK's way", sdk), ("fastmcp", fastmcp))
            ]
            alone = stack.enter_context(serving([PYTHON, "-m", "tests.benchmarks.sdk_alone"], {}, on=self.core))
            cases.append((SDK_ALONE, f"batch of 1, {MODERN}", alone.url, [batch(ids(1), MODERN)]))
            return self._in_turn(cases)

    def _redis_cases(self, url: str) -> list[BenchmarkCase]:
        """Return cases whose batches cycle through more tasks than the process caches, so that Redis has each batch."""
        preload_tasks(self.redis, self.backend.url, ("of-redis", 0, IN_REDIS))
        return [
            (
                "service",
                redis_case_name(era),
                url,
                [batch(ids(50, at), era, "of-redis") for at in range(0, IN_REDIS, 50)],
            )
            for era in PROMISED_FROM_REDIS
        ]

    def _in_turn(self, cases: list[BenchmarkCase]) -> list[Rate]:
        measured: list[list[float]] = [[] for _ in cases]
        for number in range(self._rounds + 1):
            for rates, (_, _, url, asked) in zip(measured, cases, strict=True):
                rate = load(url, asked, seconds=1.0 if number else 0.5).rate
                if number:  # the first round warms up
                    rates.append(rate)
        return [
            Rate(name, case, statistics.median(rates), tuple(rates), len(_post(url, asked[0])))
            for rates, (name, case, url, asked) in zip(measured, cases, strict=True)
        ]

    def _preload_bare_values(self, size: int, count: int) -> None:
        with self.redis.client() as client:
            client.mset({f"bare:{size}:{number}": b"x" * (size // count) for number in range(count)})

    def _sdk_server(self, answer: bytes) -> Any:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="luma-mcp-bench-"))
        path = Path(folder) / "answer.json"
        path.write_text(json.dumps(json.loads(answer)["result"]["structuredContent"]["result"]))
        return serving([PYTHON, "-m", "tests.benchmarks.sdk_server", str(path)], {}, on=self.core)

    def _fastmcp_server(self) -> Any:
        script = str(Path(__file__).with_name("fastmcp_server.py"))
        return serving([FASTMCP_PYTHON, script, self.backend.url.removesuffix("/mcp")], {}, on=self.core)

    def against_no_cache(self) -> tuple[float, float]:
        """Return the p50 latency (ms) of a batch of 50 over a slow backend: with the cache, and without it.

        Times to live of 1 ms turn the cache off.
        """
        slow = self._backend(DELAY_SECONDS)
        with self.service(slow, on=self.core) as cached:
            warm = _p50(cached.url, lambda _: batch(ids(50), MODERN), 200)
        off = {"result_ttl_seconds": "0.001", "pending_ttl_seconds": "0.001"}
        with self.service(slow, on=self.core, settings=off) as uncached:
            cold = _p50(uncached.url, lambda _: batch(ids(50, 1000), MODERN), 20)
        return warm, cold

    def added_latency(self) -> float:
        """Return the p50 latency (ms) that the service adds to an uncached read: the median of the rounds."""
        ask = {"action": "retrieve_batch", "ids": ids(1)}
        direct = {"headers": {"content-type": "application/json"}, "body": json.dumps(ask)}
        backend_url = self.backend.url.replace("/mcp", "/luma/tasks")
        added = []
        with self.service(self.backend, on=self.core) as service:
            for round_number in range(1, self._rounds + 1):
                asked = [batch(task_id, MODERN) for task_id in zip(ids(410, 10_000 * round_number), strict=True)]
                service_p50 = _p50(service.url, asked.__getitem__, 400)
                added.append(service_p50 - _p50(backend_url, lambda _: direct, 400))
        return statistics.median(added)

    def workers(self) -> tuple[float, float]:
        """Return the answers per second of processor time, with one worker on `core`, and with two on all cores.

        Only the service's own processor time counts, because the load shares the cores.
        """
        asked = [batch(ids(50), MODERN)]
        each = []
        for workers, on in ((1, self.core), (2, [*self.core, *self.others])):
            with self.service(self.backend, on=on, workers=workers) as service:
                service.await_idle()
                load(service.url, asked, seconds=1.0)
                rates = []
                for _ in range(self._rounds):
                    before = service.cpu_seconds()
                    answered = load(service.url, asked, seconds=1.0, connections=2 * CONNECTIONS).answered
                    rates.append(answered / (service.cpu_seconds() - before))
                each.append(statistics.median(rates))
        return each[0], each[1]

    def uncached_batch(self) -> float:
        """Return the service's processor time (s) for a batch of running tasks.

        The pending time to live is 1 ms, so that each batch is one call to the backend.
        """
        backend = self._backend(0.0, "--running")
        asked = [
            batch(ids(RUNNING_TASKS_PER_TOKEN, first), MODERN) for first in range(0, 2_000, RUNNING_TASKS_PER_TOKEN)
        ]
        with self.service(backend, on=self.core, settings={"pending_ttl_seconds": "0.001"}) as service:
            load(service.url, asked, seconds=0.5)
            before: float = service.cpu_seconds()
            answered = load(service.url, asked, seconds=1.5).answered
            taken: float = service.cpu_seconds() - before
        return taken / answered

    def connections(self) -> int:
        """Return the number of connections that the backend saw for 500 uncached reads, 16 at once."""
        backend = self._backend(0.01)
        with self.service(backend, on=self.core) as service:
            asked = [batch(ids(1, 20_000 + number), MODERN) for number in range(UNCACHED_READS)]
            load(service.url, asked, amount=UNCACHED_READS)
        return int(httpx.get(backend.url).json()["connections"])

    def memory(self) -> tuple[float, list[float]]:
        """Return the resident memory (MB) of the idle service, and after each tenth of the mixed calls."""
        random, tasks_per_token = Random(4), MIXED_TASKS // MIXED_TOKENS
        self.redis.flush_all()
        preload_tasks(
            self.redis,
            self.backend.url,
            *(
                (f"token-{token}", token * tasks_per_token, (token + 1) * tasks_per_token)
                for token in range(PRELOADED_TOKENS)
            ),
        )
        with self.service(self.backend, on=self.core) as service:
            httpx.get(service.url.replace("/mcp", "/livez"))
            idle = service.megabytes()
            samples = []
            for _ in range(10):
                asked = [_mixed(random) for _ in range(MIXED_CALLS // 10)]
                load(service.url, asked, amount=len(asked), connections=CONNECTIONS)
                samples.append(service.megabytes())
        return idle, samples


def _mixed(random: Random) -> dict[str, Any]:
    is_hot, max_batch, tasks_per_token = random.random() < HOT_CALL_FRACTION, 10, MIXED_TASKS // MIXED_TOKENS
    token = random.randrange(HOT_TOKENS if is_hot else MIXED_TOKENS)
    first = token * tasks_per_token + random.randrange(HOT_TASKS if is_hot else tasks_per_token - max_batch + 1)
    wanted = ids(random.choice((1, 2, 5, max_batch)), first)
    era = random.choice((MODERN, MODERN, MODERN, LEGACY))
    kind = random.random()
    if kind < 0.7:
        return batch(wanted, era, f"token-{token}")
    if kind < 0.9:
        return call("luma_get_task", {"task_id": wanted[0]}, era, f"token-{token}")
    return call("luma_list_aspect_ratios", {}, era, f"token-{token}")


def _p50(url: str, asked: Callable[[int], dict[str, Any]], count: int) -> float:
    """Return the median time (ms) of `count` requests, one after the other, after three for warm-up."""
    times = []
    with httpx.Client(timeout=30) as client:
        for number in range(-3, count):
            request = asked(number + 3)
            started = time.perf_counter()
            client.post(url, content=request["body"], headers=request["headers"]).raise_for_status()
            if number >= 0:
                times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def _post(url: str, asked: dict[str, Any]) -> bytes:
    answer = httpx.post(url, content=asked["body"], headers=asked["headers"], timeout=30)
    answer.raise_for_status()
    return answer.content
