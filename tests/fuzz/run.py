"""One run: the installed service, a sandbox backend, and concurrent clients that send generated requests."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.behaviour import Behaviour
from app.adapters.sandbox.engine import Sandbox
from tests.fuzz.connection import Connection, Silence
from tests.fuzz.findings import Findings, LogWatch
from tests.fuzz.grammar import Grammar
from tests.fuzz.known import Known
from tests.fuzz.messages import Messages
from tests.fuzz.request import Request
from tests.fuzz.shapes import shapes
from tests.fuzz.surface import surface
from tests.fuzz.wire import Framed, framed
from tests.support.process import Server, environment, serving_process
from tests.support.service import KEY, listening, settings

PUBLIC_URL = "https://luma.example.com"
"""A public URL, so that the service accepts callbacks and serves its server card."""

CLIENTS = 16
CLIENTS_BY_HAND = 24
BY_HAND = 20
"""For every BY_HAND requests, one more is sent as raw bytes, valid or not, on a connection of its own."""

GENERATION_SECONDS = 2.0
WARM_UP = 5
"""Memory growth is measured from 1/WARM_UP of the run on."""

WELL = Behaviour(max_in_flight=None, reads_per_second=None)
"""A backend without limits, so that every error is the service's own."""

MAX_CASES = 2**32
LATEST = 5
"""A log line is attributed to the last LATEST answered requests and to those in flight."""


@dataclass
class Figures:
    """The figures of a run. `by_hand` counts responses to raw bytes, `distinct` has a hash of each request."""

    cases: int
    statuses: Counter[int] = field(default_factory=Counter)
    by_hand: int = 0
    videos: int = 0
    distinct: set[int] = field(default_factory=set)
    growth_mb: float = 0.0
    exit_status: int | None = None

    @property
    def answers(self) -> int:
        """The number of responses to the cases, without those to raw bytes."""
        return self.statuses.total()

    def told(self) -> str:
        """Return the figures as one line."""
        by_status = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.answers:,} answers to {self.cases:,} requests ({len(self.distinct):,} different; {by_status}), "
            f"{self.by_hand:,} to others sent as raw bytes, {self.videos:,} videos, {self.growth_mb:+.1f} MB,"
        )


async def fuzz(cases: int, seed: int, folder: Path, findings: Findings) -> Figures:
    """Send `cases` requests generated from `seed`; add failures to `findings`."""
    values, known = settings(public_url=PUBLIC_URL), Known(KEY)
    offered = surface(values)
    grammar = Grammar(offered, Messages(offered, shapes(offered, seed), known), known)
    backend = Sandbox(GENERATION_SECONDS, f"{PUBLIC_URL}/media", behaviour=WELL, deliver=known.deliver)
    figures = Figures(cases)
    async with listening(sandbox_app(backend)) as backend_url:
        database_url = (
            f"sqlite:///{folder}/luma.db"  # as a service has it: rows in memory would grow with each purchase
        )
        env = environment(acedata_url=backend_url, public_url=PUBLIC_URL, secret_key=KEY, database_url=database_url)
        with ExitStack() as stack:
            server = stack.enter_context(serving_process(cwd=folder, env=env))
            run = Run(server, grammar, known, findings, figures)
            await run.send_all(seed * MAX_CASES)
            await asyncio.to_thread(stack.close)  # the service may still need the backend in this loop
        run.look_at_the_rest_of_the_log()
        figures.videos = known.videos
        figures.exit_status = server.process.returncode
    return figures


class Run:
    """The clients of one run."""

    def __init__(self, server: Server, grammar: Grammar, known: Known, findings: Findings, figures: Figures) -> None:
        self._port = int(urlsplit(server.url).netloc.partition(":")[2])
        self._process = psutil.Process(server.process.pid)
        self._server = server
        self._log = LogWatch(server)
        self._grammar = grammar
        self._known = known
        self._findings = findings
        self._figures = figures
        self._under_way: set[int] = set()
        self._latest: deque[int] = deque(maxlen=LATEST)
        self._warm_mb: float | None = None

    async def send_all(self, first: int) -> None:
        """Send the requests with numbers from `first` on, and concurrently those that are sent as raw bytes."""
        cases = self._figures.cases
        numbers, by_hand = (
            iter(range(first, first + cases)),
            iter(range(first + cases, first + cases + cases // BY_HAND)),
        )
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._send(numbers))
            for _ in range(CLIENTS_BY_HAND):
                clients.create_task(self._send_by_hand(by_hand))
        self._figures.growth_mb = self._memory_mb() - (self._warm_mb or 0.0)

    def look_at_the_log(self) -> None:
        """Add the faults that were logged since the last call to the findings."""
        for line in self._log.faults():
            self._findings.logged(line, (*self._latest, *self._under_way))

    def look_at_the_rest_of_the_log(self) -> None:
        """Add the faults that were logged while the service ended. They cannot be attributed to a request."""
        self._server.log()
        for line in self._log.faults():
            self._findings.logged(line, ())

    async def _send(self, numbers: Iterator[int]) -> None:
        with Connection(self._port) as connection:
            for number in numbers:
                if self._findings.are_enough:
                    return
                with self._sending(number):
                    await self._one(connection, self._grammar.grown(number))
                self._sample()

    async def _one(self, connection: Connection, request: Request) -> None:
        sent = request.framed()
        self._figures.distinct.add(hash((request.method, request.path, request.body)))
        try:
            answer = await connection.ask(sent, listens=request.listens, no_body=request.method == "HEAD")
        except Silence as exc:
            self._findings.add("no answer", str(exc), request, sent)
            return
        self._figures.statuses[answer.status] += 1
        self._findings.judge(request, sent, answer)
        self._known.learn(request.token, answer.body)

    async def _send_by_hand(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            if self._findings.are_enough:
                return
            request = self._grammar.grown(number)
            by_hand = framed(request)
            with self._sending(number), Connection(self._port) as connection:
                try:
                    if by_hand.owed:
                        await self._owed(connection, request, by_hand)
                    else:
                        await self._not_owed(connection, request, by_hand.sent)
                except Silence as exc:
                    self._findings.add("no answer", str(exc), request, by_hand.sent)

    async def _owed(self, connection: Connection, request: Request, by_hand: Framed) -> None:
        sent = by_hand.sent
        for _ in range(by_hand.owed):
            answer = await connection.ask(sent, listens=request.listens, no_body=request.method == "HEAD")
            self._figures.by_hand += 1
            self._findings.judge(request, by_hand.sent, answer)
            if not connection.is_open:
                return
            sent = b""

    async def _not_owed(self, connection: Connection, request: Request, sent: bytes) -> None:
        come = await connection.ask_in_vain(sent)
        self._figures.by_hand += self._findings.judge_bytes(request, sent, come)

    @contextmanager
    def _sending(self, number: int) -> Iterator[None]:
        self._under_way.add(number)
        yield
        self._under_way.discard(number)
        self._latest.append(number)
        self.look_at_the_log()

    def _sample(self) -> None:
        if self._warm_mb is None and self._figures.answers * WARM_UP >= self._figures.cases:
            self._warm_mb = self._memory_mb()

    def _memory_mb(self) -> float:
        mb: float = self._process.memory_info().rss / 1e6
        return mb
