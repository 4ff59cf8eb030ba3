"""Middleware that schedules requests fairly between callers.

Answers from the cache are CPU-bound, and the event loop runs all ready requests in a row. Each caller therefore starts
one request in an iteration of the loop (a turn), and all callers together start only as many as take a few
milliseconds. All requests without a token count as one caller, whatever their header holds. Scheduling costs a fifth of
the rate, so it is off while there is only one caller.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.auth.bearer_token import bearer_token
from app.services.limits.memory_budget import MemoryBudget
from app.web.asgi import header
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.middleware.request_memory import refuse

SHARED_SECONDS = 0.25
"""Time for which scheduling stays on after requests of two callers."""

TURN_SECONDS = 0.004
"""Longest turn before fewer requests start in the next one."""

MOST_IN_A_TURN = 16

REFUSALS_PER_SECOND = 500.0
"""Requests of refused connections that are read again, of all together: a refusal costs about 200 µs."""

LONGEST_PAUSE_SECONDS = 4.0
"""Longest time for which a refused connection is not read. Meanwhile it is not noticed that its client has left."""

SMALL_PROBE_BYTES = 4_000
"""A probe with a head up to here waits without being counted; one with a larger head is no probe of an orchestrator."""

QUEUED_BYTES = 8_000
"""Memory of a queued request beside its head: a task, and the objects that will answer it."""

BEARER = "Bearer "
"""Begins the name of a caller who has a token, so that no token is a probe."""

PROBES = ("/livez", "/readyz")

Queue = deque[asyncio.Future[None]]
Callers = OrderedDict[str, None]


class FairScheduler:
    """Starts requests at once if this turn has room, else in a later turn.

    Callers wait in four queues that are served alternately. Tokens that the backend has accepted have queues of their
    own, because a token costs nothing to invent. So have callers with further requests waiting, because they send many.
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
        """Whether no request has started in this turn, and none waits."""
        return not self._began and not self._queues

    async def turn(self, caller: str) -> None:
        """Return when a request of `caller` may start."""
        if not self.begins(caller):
            await self.wait(caller)

    def begins(self, caller: str) -> bool:
        """Return whether a request of `caller` may start at once; otherwise `wait` for its turn."""
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
        """Queue the request, and return when it may start."""
        queue = self._queues.get(caller)
        if queue is None:
            queue = self._queues[caller] = deque()
            self._lines[self._is_accepted(caller), True][caller] = None
        queue.append(turn := asyncio.get_running_loop().create_future())
        await turn

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the requests of this turn, and schedule the next turn while requests start or wait."""
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
        """Start fewer requests after a long turn, and more after a short one."""
        is_long = now - self._turn_began > TURN_SECONDS
        self._most = max(1, self._most // 2) if is_long else min(MOST_IN_A_TURN, self._most + 1)
        self._turn_began = now

    def _begin(self, caller: str) -> bool:
        """Start the caller's next request that is still connected. Return whether more of its requests wait."""
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
    """The outermost middleware, so that refusals are scheduled too. Each probe path counts as a caller."""

    def __init__(self, app: ASGIApp, scheduler: FairScheduler, line: "RequestQueue") -> None:
        """Wrap `app`. Requests wait in `line`."""
        self._app = app
        self._scheduler = scheduler
        self._line = line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it may start, and a lifespan at once."""
        if scope["type"] == "http":
            disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
            if disconnect is not None:
                disconnect.begin()
            caller = caller_of(scope)
            if not self._scheduler.begins(caller) and not await self._line.wait(self._scheduler, caller, scope, send):
                return
        await self._app(scope, receive, send)


class RequestQueue:
    """Counts the memory of queued requests in the budget of requests."""

    def __init__(
        self,
        memory: MemoryBudget,
        owner_of: Callable[[str], str],
        refused: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count in `memory`. `owner_of` returns a caller's tenant; `refused` receives the status of each refusal."""
        self._memory = memory
        self._clock = clock
        self._next_refusal = 0.0
        self._owner_of = owner_of
        self._refused = refused

    def _pause(self) -> float:
        """Return the seconds for which the refused connection is not read, so that refusals stay few."""
        now = self._clock()
        next_one = max(self._next_refusal, now) + 1 / REFUSALS_PER_SECOND
        self._next_refusal = min(next_one, now + LONGEST_PAUSE_SECONDS)
        return self._next_refusal - now

    async def wait(self, scheduler: FairScheduler, caller: str, scope: Scope, send: Send) -> bool:
        """Wait for the turn of a request and return True. Without memory for it, refuse it and return False."""
        disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
        head_bytes = disconnect.head_bytes if disconnect is not None else 0
        is_free = caller in PROBES and head_bytes <= SMALL_PROBE_BYTES
        amount = 0 if is_free else QUEUED_BYTES + head_bytes
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
    """Return the caller of a request: its bearer token in one spelling, the path of a probe, or "" for all others."""
    if scope["path"] in PROBES:
        return str(scope["path"])
    token = bearer_token(header(scope, b"authorization"))
    return "" if token is None else BEARER + token
