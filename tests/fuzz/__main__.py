# ruff: noqa: T201 - a report
"""`python -m tests.fuzz --cases N`: no request may meet a 5xx, a fault of ours, silence, or a memory that grows."""

import asyncio
import http.client
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import wire
from tests.fuzz.grammar import Request, grown
from tests.support.process import environment, serving_process

AT_ONCE = 100
"""Requests in one example, each grown from a number: drawing every part of them would take a hundred times as long."""

ON_THE_WIRE = 20
"""One in so many cases is framed by hand, rightly or wrongly, and has a connection of its own."""

SILENCE_SECONDS = 10.0
MOST_GROWTH_MB = 25.0
OURS = (b"-32603", b'"code":"internal_error"', b"Traceback", b"Internal Server Error")


def judge(status: int, answer: bytes) -> None:
    """Raise AssertionError where an answer is a fault of ours."""
    assert status < 500, f"{status}: {answer[:300]!r}"
    assert not [mark for mark in OURS if mark in answer], answer[:500]


class Target:
    """One connection to the service, made anew where the service closes it."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=SILENCE_SECONDS)
        self.seen: Counter[int] = Counter()

    def send(self, request: Request) -> None:
        """Send one request.

        Raises AssertionError where the answer is a fault of ours, TimeoutError for silence, and ConnectionError or
        HTTPException where even a connection of its own brings no whole answer.
        """
        try:
            status, body = self._exchanged(request)
        except (http.client.HTTPException, ConnectionError):  # closed by the service after the answer before
            self._connection.close()
            status, body = self._exchanged(request)
        self.seen[status] += 1
        judge(status, body)

    def _exchanged(self, request: Request) -> tuple[int, bytes]:
        self._connection.request(request.method, request.path, request.body, request.headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def send_on_the_wire(self, cases: int) -> None:
        """Send requests that are framed by hand. Raises AssertionError and TimeoutError as `send` does."""
        port = int(self._host.partition(":")[2])
        for answer in asyncio.run(wire.answers(port, range(cases), SILENCE_SECONDS)):
            for status in wire.statuses(answer):
                self.seen[status] += 1
                judge(status, answer)


def _send_all(target: Target, cases: int, process: psutil.Process) -> float:
    """Send so many cases; return by how many MB the service grew after the first fifth of them."""
    memory: list[float] = []

    @settings(
        max_examples=max(1, cases // AT_ONCE),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.integers(0, 2**63), min_size=AT_ONCE, max_size=AT_ONCE, unique=True))
    def send_some(seeds: list[int]) -> None:
        for seed in seeds:
            target.send(grown(seed))
        memory.append(process.memory_info().rss / 1e6)

    send_some()
    target.send_on_the_wire(cases // ON_THE_WIRE)
    return process.memory_info().rss / 1e6 - memory[len(memory) // 5]


def main() -> int:
    """Return the exit status."""
    parser = ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=100_000)
    cases = parser.parse_args().cases
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving_process("--sandbox", cwd=Path(folder), env=environment()) as server,
    ):
        target = Target(server.url)
        growth = _send_all(target, cases, psutil.Process(server.process.pid))
    tracebacks = server.log().count("Traceback") + server.log().count('"exception"')
    took = time.monotonic() - started
    answers = sum(target.seen.values())
    print(f"{answers:,} answers {dict(target.seen)}, {growth:+.1f} MB, {tracebacks} tracebacks, {took:.0f} s")
    return 0 if growth < MOST_GROWTH_MB and not tracebacks else 1


if __name__ == "__main__":
    raise SystemExit(main())
