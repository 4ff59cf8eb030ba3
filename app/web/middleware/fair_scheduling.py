"""Middleware that schedules requests fairly between callers.

Calls that the cache answers are CPU-bound, and the event loop runs all ready tasks in a row. In one iteration of the
loop (a turn), each caller therefore starts one request, and all callers together start as many as take a few
milliseconds. All requests without a valid bearer token count as one caller. Scheduling costs a fifth of the throughput,
so it is off while there is only one caller.

Probes, and requests without a token, are from many clients that count as one caller. Their newest request starts first,
so that a flood of them does not delay the probe of an orchestrator.
"""

import asyncio
import time
from collections import OrderedDict
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
"""Duration of a turn beyond which fewer requests start in the next one."""

MOST_IN_A_TURN = 16

REFUSALS_PER_SECOND = 500.0
"""Rate at which refused connections are read again, over all connections: a refusal costs about 200 µs."""

LONGEST_PAUSE_SECONDS = 4.0
"""Longest time for which a refused connection is not read. A disconnect is not noticed meanwhile."""

SMALL_PROBE_BYTES = 4_000
"""Memory of the head up to which a queued probe is not counted. The probes of orchestrators have small heads."""

QUEUED_BYTES = 8_000
"""Memory of a queued request beside its head: an asyncio task, and the request and response objects."""

BEARER = "Bearer "
"""Prefix of the names of callers with a token, so that no token is taken for the path of a probe."""

PROBES = ("/livez", "/readyz")
"""Paths of the probes. Each counts as a caller that the backend has accepted."""

SHARED = frozenset((*PROBES, ""))
"""Callers that stand for many clients."""

Queue = OrderedDict[asyncio.Future[None], None]
Callers = OrderedDict[str, None]


class FairScheduler:
    """Starts requests at once if this turn has room, else in a later turn.

    Each caller has a queue of requests. Callers that wait are in one of four round-robin rings, which are served
    alternately. Callers whose token the backend has accepted have rings of their own, because anybody can invent
    tokens. So have callers that have started a request and have more in their queue, because they send many.
    """

    def __init__(self, is_accepted: Callable[[str], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """`is_accepted` receives a caller as `caller_of` returns it. `clock` returns seconds that never go back."""
        self._is_accepted = is_accepted
        self._clock = clock
        self._started: set[str] = set()  # in this turn
        self._queues: dict[str, Queue] = {}
        self._kinds = [(True, True), (False, True), (True, False), (False, False)]  # is accepted, is new
        self._rings: dict[tuple[bool, bool], Callers] = {kind: OrderedDict() for kind in self._kinds}
        self._turn_limit = MOST_IN_A_TURN
        self._turn_began = 0.0
        self._latest_caller = ""
        self._shared_until = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no request has started in this turn, and none is queued."""
        return not self._started and not self._queues

    async def turn(self, caller: str) -> None:
        """Wait until a request of `caller` may start."""
        if not self.begins(caller):
            await self.wait(caller)

    def begins(self, caller: str) -> bool:
        """Return whether a request of `caller` may start at once. Otherwise the caller of this method must `wait`."""
        now = self._clock()
        if caller != self._latest_caller:
            self._latest_caller, self._shared_until = caller, now + SHARED_SECONDS
        if now >= self._shared_until and not self._queues:
            return True
        loop = asyncio.get_running_loop()
        if self.is_idle:
            self._turn_began = now
            loop.call_soon(self._next_turn, loop)
        if caller not in self._started and caller not in self._queues and len(self._started) < self._turn_limit:
            self._started.add(caller)
            return True
        return False

    def queued(self, caller: str) -> int:
        """Return how many requests of `caller` wait."""
        return len(self._queues.get(caller, ()))

    async def wait(self, caller: str) -> None:
        """Queue a request of `caller`, and wait until it may start."""
        queue = self._queues.get(caller)
        if queue is None:
            queue = self._queues[caller] = OrderedDict()
            self._rings[self._is_accepted(caller), True][caller] = None
        queue[turn := asyncio.get_running_loop().create_future()] = None
        try:
            await turn
        finally:
            queue.pop(turn, None)  # its client has left

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the requests of a turn, and schedule the next turn while requests start or wait."""
        self._adapt(self._clock())
        self._started.clear()
        requeued: list[tuple[Callers, str]] = []
        for _ in range(self._turn_limit):
            kind = next((kind for kind in self._kinds if self._rings[kind]), None)
            if kind is None:
                break
            self._kinds.remove(kind)
            self._kinds.append(kind)
            caller, _ = self._rings[kind].popitem(last=False)
            if self._start_next(caller):
                requeued.append((self._rings[kind[0], False], caller))
        for ring, caller in requeued:
            ring[caller] = None
        if not self.is_idle:
            loop.call_soon(self._next_turn, loop)

    def _adapt(self, now: float) -> None:
        """Halve the limit of requests after a long turn, and raise it by one after a short turn."""
        is_long = now - self._turn_began > TURN_SECONDS
        self._turn_limit = max(1, self._turn_limit // 2) if is_long else min(MOST_IN_A_TURN, self._turn_limit + 1)
        self._turn_began = now

    def _start_next(self, caller: str) -> bool:
        """Start the caller's next request whose client is connected. Return whether more of its requests are queued."""
        queue = self._queues[caller]
        while queue:
            turn, _ = queue.popitem(last=caller in SHARED)
            if not turn.done():
                turn.set_result(None)
                self._started.add(caller)
                break
        if not queue:
            del self._queues[caller]
        return bool(queue)


class FairSchedulingMiddleware:
    """Delays requests until the scheduler lets them start. It is the outermost middleware: refusals cost time too."""

    def __init__(self, app: ASGIApp, scheduler: FairScheduler, queue: "RequestQueue") -> None:
        """Wrap `app`. Requests that may not start at once wait in `queue`."""
        self._app = app
        self._scheduler = scheduler
        self._queue = queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it may start, and a lifespan at once."""
        if scope["type"] == "http":
            disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
            if disconnect is not None:
                disconnect.begin()
            caller = caller_of(scope)
            if not self._scheduler.begins(caller) and not await self._queue.wait(self._scheduler, caller, scope, send):
                return
        await self._app(scope, receive, send)


class RequestQueue:
    """Queues requests in the scheduler, and counts their memory, but not that of small probes, in a budget."""

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
        """Return the seconds for which a refused connection is not read, which keeps to REFUSALS_PER_SECOND."""
        now = self._clock()
        next_one = max(self._next_refusal, now) + 1 / REFUSALS_PER_SECOND
        self._next_refusal = min(next_one, now + LONGEST_PAUSE_SECONDS)
        return self._next_refusal - now

    async def wait(self, scheduler: FairScheduler, caller: str, scope: Scope, send: Send) -> bool:
        """Wait for the turn of a request, and return True. If the budget has no memory for it, answer 429: False."""
        disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
        head_bytes = disconnect.head_bytes if disconnect is not None else 0
        is_free = caller in PROBES and head_bytes <= SMALL_PROBE_BYTES
        amount = 0 if is_free else QUEUED_BYTES + head_bytes
        owner = self._owner_of(caller)
        if not self._memory.take(owner, amount):
            if disconnect is not None:
                disconnect.pause_seconds = self._pause()
            await refuse(send, self._refused)
            return False
        try:
            await scheduler.wait(caller)
        finally:
            self._memory.give_back(owner, amount)
        return True


def caller_of(scope: Scope) -> str:
    """Return the caller of a request: "Bearer " and its token, the path of a probe, or "" for all other requests."""
    if scope["path"] in PROBES:
        return str(scope["path"])
    token = bearer_token(header(scope, b"authorization"))
    return "" if token is None else BEARER + token
