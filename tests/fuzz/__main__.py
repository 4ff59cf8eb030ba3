# ruff: noqa: T201 - a report
"""`python -m tests.fuzz --cases N`: no request may meet a 5xx, a fault of ours, silence, or a memory that grows."""

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

from tests.fuzz.grammar import Request, grown
from tests.support.process import environment, serving_process

AT_ONCE = 100
"""Requests in one example, each grown from a number: drawing every part of them would take a hundred times as long."""

SILENCE_SECONDS = 10.0
MOST_GROWTH_MB = 25.0
OURS = (b"-32603", b'"code":"internal_error"', b"Traceback", b"Internal Server Error")


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
            answer, body = self._exchanged(request)
        except (http.client.HTTPException, ConnectionError):  # closed by the service after the answer before
            self._connection.close()
            answer, body = self._exchanged(request)
        self.seen[answer.status] += 1
        assert answer.status < 500, f"{answer.status}: {body[:300]!r}"
        assert not [mark for mark in OURS if mark in body], body[:500]

    def _exchanged(self, request: Request) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(request.method, request.path, request.body, request.headers)
        answer = self._connection.getresponse()
        return answer, answer.read()


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
        target, process = Target(server.url), psutil.Process(server.process.pid)
        memory: list[float] = []

        @settings(
            max_examples=max(1, cases // AT_ONCE),
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(st.integers(0, 2**63), min_size=AT_ONCE, max_size=AT_ONCE, unique=True))
        def send_all(seeds: list[int]) -> None:
            for seed in seeds:
                target.send(grown(seed))
            memory.append(process.memory_info().rss / 1e6)

        send_all()
    growth = memory[-1] - memory[len(memory) // 5]
    tracebacks = server.log().count("Traceback") + server.log().count('"exception"')
    took = time.monotonic() - started
    answers = sum(target.seen.values())
    print(f"{answers:,} answers {dict(target.seen)}, {growth:+.1f} MB, {tracebacks} tracebacks, {took:.0f} s")
    return 0 if growth < MOST_GROWTH_MB and not tracebacks else 1


if __name__ == "__main__":
    raise SystemExit(main())
