"""Turns of the event loop: how many requests begin in each, and whose, while several callers send them.

Answers from the cache are nearly all computing, and the loop runs whatever is ready before it looks at anybody else. So
each caller begins one request in a turn, and all of them together no more than take a few milliseconds. Every request
without a token belongs to one caller, whatever its header holds. Turns cost a caller that is alone a fifth of its rate,
so it takes none.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.auth.passthrough import bearer_token
from app.services.limits.memory_budget import MemoryBudget
from app.web.asgi import header
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.middleware.request_memory import refuse

SHARED_SECONDS = 0.25
"""How long after requests of two callers callers take turns."""

TURN_SECONDS = 0.004
"""How long a turn may take before fewer requests begin in the next."""

MOST_IN_A_TURN = 16

REFUSALS_PER_SECOND = 500.0
"""Clients that are refused a place in line may ask again at this rate, all together: a refusal costs some 200 µs."""

LINE_BYTES = 8_000
"""What a request takes that waits for its turn, beside its head: a task, and the objects that will answer it."""

PROBES = ("/livez", "/readyz")

Queue = deque[asyncio.Future[None]]
Callers = OrderedDict[str, None]


class FairScheduler:
    """Lets requests begin: at once where there is room in this turn of the loop, else in a later one.

    Callers wait in four lines that are served alternately. A token costs nothing to invent, so those that the backend
    has accepted stand apart; and so do callers of whom one request has begun and others wait, for they come often.
    """

    def __init__(self, is_accepted: Callable[[str], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """`is_accepted` is told what `caller_of` returns; `clock` counts seconds and never goes back."""
        self._is_accepted = is_accepted
        self._clock = clock
        self._began: set[str] = set()
        self._queues: dict[str, Queue] = {}
        self._kinds = [(True, True), (False, True), (True, False), (False, False)]  # is it accepted, is it new
        self._lines: dict[tuple[bool, bool], Callers] = {kind: OrderedDict() for kind in self._kinds}
        self._most = MOST_IN_A_TURN
        self._turn_began = 0.0
        self._latest = ""
        self._shared_until = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nobody has begun a request in this turn, and nobody waits."""
        return not self._began and not self._queues

    async def turn(self, caller: str) -> None:
        """Return when a request of `caller` may begin."""
        if not self.begins(caller):
            await self.wait(caller)

    def begins(self, caller: str) -> bool:
        """Return whether a request of `caller` may begin at once; where it may not, it has to wait."""
        now = self._clock()
        if caller != self._latest:
            self._latest, self._shared_until = caller, now + SHARED_SECONDS
        if now >= self._shared_until and not self._queues:
            return True
        loop = asyncio.get_running_loop()
        if self.is_idle:
            self._turn_began = now
            loop.call_soon(self._next_turn, loop)
        if caller not in self._began and caller not in self._queues and len(self._began) < self._most:
            self._began.add(caller)
            return True
        return False

    async def wait(self, caller: str) -> None:
        """Stand in line, and return when it is the turn of `caller`."""
        queue = self._queues.get(caller)
        if queue is None:
            queue = self._queues[caller] = deque()
            self._lines[self._is_accepted(caller), True][caller] = None
        queue.append(turn := asyncio.get_running_loop().create_future())
        await turn

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let those in whose turn it is; go on for as long as anybody begins a request."""
        self._adapt(self._clock())
        self._began.clear()
        again: list[tuple[Callers, str]] = []
        for _ in range(self._most):
            kind = next((kind for kind in self._kinds if self._lines[kind]), None)
            if kind is None:
                break
            self._kinds.remove(kind)
            self._kinds.append(kind)
            caller, _ = self._lines[kind].popitem(last=False)
            if self._begin(caller):
                again.append((self._lines[kind[0], False], caller))
        for line, caller in again:
            line[caller] = None
        if not self.is_idle:
            loop.call_soon(self._next_turn, loop)

    def _adapt(self, now: float) -> None:
        """Let fewer requests begin after a long turn, and more after a short one."""
        is_long = now - self._turn_began > TURN_SECONDS
        self._most = max(1, self._most // 2) if is_long else min(MOST_IN_A_TURN, self._most + 1)
        self._turn_began = now

    def _begin(self, caller: str) -> bool:
        """Let the next request of the caller begin that has not left; return whether more of them wait."""
        queue = self._queues[caller]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                self._began.add(caller)
                break
        if not queue:
            del self._queues[caller]
        return bool(queue)


class FairSchedulingMiddleware:
    """Stands before everything, so that refusals take turns too; probes count as callers of their own."""

    def __init__(self, app: ASGIApp, scheduler: FairScheduler, line: "RequestQueue") -> None:
        """Stand before `app`; requests that have to wait do so in `line`."""
        self._app = app
        self._scheduler = scheduler
        self._line = line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it is its turn, and a lifespan at once."""
        if scope["type"] == "http":
            disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
            if disconnect is not None:
                disconnect.begin()
            caller = caller_of(scope)
            if not self._scheduler.begins(caller) and not await self._line.stood(self._scheduler, caller, scope, send):
                return
        await self._app(scope, receive, send)


class RequestQueue:
    """The memory of requests that wait for their turn: bounded like that of requests under way, for they are many."""

    def __init__(
        self,
        memory: MemoryBudget,
        owner_of: Callable[[str], str],
        refused: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count in `memory`; `owner_of` tells whose a caller's requests are, and `refused` is told each status."""
        self._memory = memory
        self._clock = clock
        self._next_refusal = 0.0
        self._owner_of = owner_of
        self._refused = refused

    def _pause(self) -> float:
        """Return for how long the refused client's connection is not read, so that refusals stay few."""
        now = self._clock()
        self._next_refusal = max(self._next_refusal, now) + 1 / REFUSALS_PER_SECOND
        return self._next_refusal - now

    async def stood(self, scheduler: FairScheduler, caller: str, scope: Scope, send: Send) -> bool:
        """Wait for the turn of a request and return True; where nothing is lent for it, refuse it and return False."""
        disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
        amount = 0 if caller in PROBES else LINE_BYTES + (disconnect.head_bytes if disconnect is not None else 0)
        owner = self._owner_of(caller)
        if not self._memory.take(owner, amount):
            if disconnect is not None:
                disconnect.rest_seconds = self._pause()
            await refuse(send, self._refused)
            return False
        try:
            await scheduler.wait(caller)
        finally:
            self._memory.give_back(owner, amount)
        return True


def caller_of(scope: Scope) -> str:
    """Return whose turn a request takes: its bearer token, in one spelling, a probe's path, or "" for all others."""
    if scope["path"] in PROBES:
        return str(scope["path"])
    token = bearer_token(header(scope, b"authorization"))
    return "" if token is None else f"Bearer {token}"
