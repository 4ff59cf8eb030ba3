"""Middleware that schedules requests fairly between clients.

Calls that the cache answers are CPU-bound, and the event loop runs all ready tasks in a row. A turn is one iteration
of the loop. In each turn, each client starts at most one request, and all clients together start as many as take a few
milliseconds. Clients are told apart by their client key: the bearer token, or the path of a probe. All other requests
share one key. Scheduling costs a fifth of the throughput, so it ends when there is only one client, even if many
requests of that client are queued.

The keys of probes and of requests without a token stand for many real clients. The newest request of such a key starts
first, so that a flood of requests does not delay the probe of an orchestrator.
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
from app.web.middleware.request_memory import HEAD_ALLOWANCE_BYTES, refuse

CONTENTION_SECONDS = 0.25
"""Scheduling stays on for this time after two consecutive requests of different clients."""

TURN_SECONDS = 0.004
"""Duration of a turn beyond which fewer requests start in the next one."""

MAX_STARTS_PER_TURN = 16

SMALL_PROBE_BYTES = 4_000
"""Memory of the head (request line and headers) up to which a queued probe is not counted in the memory budget.

The probes of orchestrators have small heads.
"""

QUEUED_REQUEST_BYTES = 8_000
"""Memory of a queued request in addition to its head: an asyncio task, and the request and response objects."""

BEARER = "Bearer "
"""Prefix of the client keys that contain a token, so that no token can be taken for a probe path."""

PROBES = ("/livez", "/readyz")
"""Paths of the probes. Each is a client key, and counts as accepted by the backend."""

MULTI_CLIENT_KEYS = frozenset((*PROBES, ""))
"""Client keys that stand for many clients."""

Queue = OrderedDict[asyncio.Future[None], None]
"""The queued requests of one client, oldest first, each as the future that lets it start."""

Ring = OrderedDict[str, None]
"""Client keys in round-robin order."""


class FairScheduler:
    """Starts a request at once if the current turn has room, else in a later turn.

    Each client has a queue of requests. Clients with queued requests are in one of four round-robin rings, which are
    served alternately: a ring for accepted tokens and one for others, each for first requests of a queue and for
    further ones. Accepted tokens are separate because anybody can invent tokens. Further requests are separate so that
    clients with many requests do not delay those with few.
    """

    def __init__(self, is_accepted: Callable[[str], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """`is_accepted` receives a client key and returns whether the backend has accepted its token lately.

        `clock` is monotonic, in seconds.
        """
        self._is_accepted = is_accepted
        self._clock = clock
        self._started: set[str] = set()  # client keys with a start in this turn
        self._queues: dict[str, Queue] = {}
        # Key of a ring: whether it is for accepted tokens, and for first requests of queues. The next ring is first.
        self._ring_keys = [(True, True), (False, True), (True, False), (False, False)]
        self._rings: dict[tuple[bool, bool], Ring] = {ring_key: OrderedDict() for ring_key in self._ring_keys}
        self._turn_limit = MAX_STARTS_PER_TURN
        self._turn_began = 0.0
        self._latest_client = ""
        self._contended_until = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no request has started in this turn, and none is queued."""
        return not self._started and not self._queues

    async def wait_to_start(self, client_key: str) -> None:
        """Wait until a request of `client_key` may start."""
        if not self.try_start(client_key):
            await self.wait_in_queue(client_key)

    def try_start(self, client_key: str) -> bool:
        """Start a request of `client_key` at once if it may, and return whether it did.

        After False, await `wait_in_queue`.
        """
        now = self._clock()
        if client_key != self._latest_client:
            self._latest_client, self._contended_until = client_key, now + CONTENTION_SECONDS
        if now >= self._contended_until and not self._queues:
            return True
        loop = asyncio.get_running_loop()
        if self.is_idle:
            self._turn_began = now
            loop.call_soon(self._next_turn, loop)
        has_room = len(self._started) < self._turn_limit
        if has_room and client_key not in self._started and client_key not in self._queues:
            self._started.add(client_key)
            return True
        return False

    def queue_length(self, client_key: str) -> int:
        """Return the number of queued requests of `client_key`."""
        return len(self._queues.get(client_key, ()))

    async def wait_in_queue(self, client_key: str) -> None:
        """Queue a request of `client_key`, and wait until it may start."""
        queue = self._queues.get(client_key)
        if queue is None:
            queue = self._queues[client_key] = OrderedDict()
            self._rings[self._is_accepted(client_key), True][client_key] = None
        queue[may_start := asyncio.get_running_loop().create_future()] = None
        try:
            await may_start
        finally:
            queue.pop(may_start, None)  # still queued only if the wait was cancelled, such as by a disconnect

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the requests of a turn, and schedule the next turn if any started or are queued.

        A client that is alone starts as many as the turn has room for.
        """
        now = self._clock()
        self._adapt_turn_limit(now)
        self._started.clear()
        is_contended = now < self._contended_until or len(self._queues) > 1
        requeued: list[tuple[Ring, str]] = []
        for _ in range(self._turn_limit):
            ring_key = next((ring_key for ring_key in self._ring_keys if self._rings[ring_key]), None)
            if ring_key is None:
                break
            self._ring_keys.remove(ring_key)
            self._ring_keys.append(ring_key)
            client_key, _ = self._rings[ring_key].popitem(last=False)
            if self._start_next(client_key):
                is_token_accepted, _ = ring_key
                ring = self._rings[is_token_accepted, False]
                if is_contended:
                    requeued.append((ring, client_key))
                else:
                    ring[client_key] = None
        for ring, client_key in requeued:
            ring[client_key] = None
        if not self.is_idle:
            loop.call_soon(self._next_turn, loop)

    def _adapt_turn_limit(self, now: float) -> None:
        """Halve the limit of starts after a long turn, and raise it by one after a short turn."""
        is_long = now - self._turn_began > TURN_SECONDS
        self._turn_limit = max(1, self._turn_limit // 2) if is_long else min(MAX_STARTS_PER_TURN, self._turn_limit + 1)
        self._turn_began = now

    def _start_next(self, client_key: str) -> bool:
        """Start the client's next request that was not cancelled. Return whether more of its requests are queued."""
        queue = self._queues[client_key]
        while queue:
            may_start, _ = queue.popitem(last=client_key in MULTI_CLIENT_KEYS)
            if not may_start.done():
                may_start.set_result(None)
                self._started.add(client_key)
                break
        if not queue:
            del self._queues[client_key]
        return bool(queue)


class FairSchedulingMiddleware:
    """Delays requests until the scheduler lets them start.

    It is outside every middleware that refuses requests, because refusals cost time too.
    """

    def __init__(self, app: ASGIApp, scheduler: FairScheduler, queue: "RequestQueue") -> None:
        """Wrap `app`. A request that may not start at once waits in `queue`."""
        self._app = app
        self._scheduler = scheduler
        self._queue = queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it may start, and a lifespan at once."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
        if disconnect is not None:
            disconnect.begin()
        client_key = client_key_of(scope)
        if not self._scheduler.try_start(client_key):
            may_start = await self._queue.wait_or_refuse(self._scheduler, client_key, scope, send)
            if not may_start:
                return
        if disconnect is not None and disconnect.head_bytes > HEAD_ALLOWANCE_BYTES:
            await self._queue.run_or_refuse(self._app, client_key, scope, receive, send)
        else:
            await self._app(scope, receive, send)


class RequestQueue:
    """Queues requests in the scheduler, and counts their heads in the memory budget.

    Long heads are counted until the response ends. Short heads are counted only while their requests are queued, except
    those of probes. After that, RequestMemoryMiddleware or the memory of the connection covers them.
    """

    def __init__(self, memory: MemoryBudget, owner_of: Callable[[str], str], on_refusal: Callable[[int], None]) -> None:
        """Count in `memory`. `owner_of` returns the tenant of a client key, and `on_refusal` gets refusals' status."""
        self._memory = memory
        self._owner_of = owner_of
        self._on_refusal = on_refusal

    async def wait_or_refuse(self, scheduler: FairScheduler, client_key: str, scope: Scope, send: Send) -> bool:
        """Wait until a request may start, and return True. Without memory for it, answer 429 and return False."""
        disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
        head_bytes = disconnect.head_bytes if disconnect is not None else 0
        is_uncounted = client_key in PROBES and head_bytes <= SMALL_PROBE_BYTES
        amount = 0 if is_uncounted else QUEUED_REQUEST_BYTES + head_bytes
        owner = self._owner_of(client_key)
        if not self._memory.take(owner, amount):
            await self._refuse(send)
            return False
        try:
            await scheduler.wait_in_queue(client_key)
        finally:
            self._memory.give_back(owner, amount)
        return True

    async def run_or_refuse(self, app: ASGIApp, client_key: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Run `app` for a request with a long head. If the budget has no memory for the head, answer 429."""
        amount = scope[DISCONNECT_SIGNAL].head_bytes - HEAD_ALLOWANCE_BYTES
        owner = self._owner_of(client_key)
        if not self._memory.take(owner, amount):
            await self._refuse(send)
            return
        try:
            await app(scope, receive, send)
        finally:
            self._memory.give_back(owner, amount)

    async def _refuse(self, send: Send) -> None:
        """Answer 429 and close the connection.

        The response is not held back like others (`refusal_pace`), because there is no memory for the request. Its
        client has to connect again, and few connections are accepted at a time.
        """
        await refuse(send, self._on_refusal, (b"connection", b"close"))


def client_key_of(scope: Scope) -> str:
    """Return the client key of a request: a probe path, "Bearer " and the token, or "" for all other requests."""
    if scope["path"] in PROBES:
        return str(scope["path"])
    token = bearer_token(header(scope, b"authorization"))
    return "" if token is None else BEARER + token
