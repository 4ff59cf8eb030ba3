"""A cache store whose outages cost speed only: what it does not do now is answered as by an empty store."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from app.ports.store import Store, StoreBusy, StoreRefuses, StoreUnavailable
from app.ports.telemetry import Telemetry
from app.services.tasks.store_probe import explained

T = TypeVar("T")

REST_SECONDS = 1.0
"""How long a store that failed is left alone; one caller then tries it again on behalf of all."""

MOST_OUTAGES = 3
WITHIN_SECONDS = 600.0
CALM_SECONDS = 60.0
"""The third outage within 10 minutes is over only once nothing has failed for a minute.

A store that is nearly full, or slow, fails and works by turns; each turn would be two lines in the log.
"""

SILENCE = "silence"
_EFFECTS = {
    SILENCE: "answering from the backend until it is back. Each process keeps its own results, and waits end later",
    "get": "cached results cannot be read from it, and finished tasks are read from the backend again",
    "put": "cached results are still served, but new ones are kept by each process for itself and read from the "
    "backend again by the others",
    "remove": "a task that has called back may be shown as running for some seconds more",
}
"""What it means that the store does not answer, or refuses one kind of operation."""

log = logging.getLogger(__name__)


class FailOpenStore:
    """Answers for a store that may be out, or do only a part of what it is asked.

    A store that does not answer is left alone with everything. One that refuses an operation is left alone with that
    kind: a full store and a replica still serve reads. The log says once what does not work, and once that it is over.
    """

    def __init__(self, store: Store, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        """Stand before `store`; `clock` counts seconds and never goes back."""
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._rests = {cause: _Rest() for cause in _EFFECTS}
        self._outages = _OutageLog()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return what the store holds, or nothing for every key while it cannot be read."""
        nothing: list[bytes | None] = [None] * len(keys)
        return await self._unless_out("get", lambda: self._store.get_many(keys), nothing)

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Keep the values, or nothing while the store takes none."""
        await self._unless_out("put", lambda: self._store.put_many(values, ttl_seconds), None)

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Forget the keys, or leave them to their time to live while the store takes no writes."""
        await self._unless_out("remove", lambda: self._store.remove_many(keys), None)

    async def ping(self) -> None:
        """Ask the store itself. Raises StoreUnavailable."""
        await self._store.ping()

    async def _unless_out(self, operation: str, ask: Callable[[], Awaitable[T]], otherwise: T) -> T:
        if self._is_left_alone(operation):
            return otherwise
        try:
            answer = await ask()
        except StoreBusy:  # that says nothing of the store, which goes on being asked
            return otherwise
        except StoreUnavailable as exc:
            self._failed(operation, exc)
            return otherwise
        if self._outages.is_on:
            self._rests[SILENCE].end()
            self._rests[operation].end()
            self._outages.worked(operation, self._clock())
        return answer

    def _is_left_alone(self, operation: str) -> bool:
        if not self._outages.is_on:
            return False
        now = self._clock()
        return self._rests[SILENCE].holds(now) or self._rests[operation].holds(now)

    def _failed(self, operation: str, exc: StoreUnavailable) -> None:
        self._telemetry.store_failed(operation)
        now, cause = self._clock(), SILENCE
        if isinstance(exc, StoreRefuses):
            self._rests[SILENCE].end()
            cause = operation
        self._rests[cause].begin(now)
        self._outages.failed(cause, exc, now)


class _Rest:
    """The time in which something is left alone; when it is over, one caller tries, and the others rest on."""

    def __init__(self) -> None:
        self._until: float | None = None

    def begin(self, now: float) -> None:
        self._until = now + REST_SECONDS

    def end(self) -> None:
        self._until = None

    def holds(self, now: float) -> bool:
        if self._until is None:
            return False
        if now < self._until:
            return True
        self.begin(now)
        return False


class _OutageLog:
    """Writes a line when something begins to fail that the outage has not shown yet, and one when all of it works."""

    def __init__(self) -> None:
        self._failing: set[str] = set()
        self._told: set[str] = set()
        self._began: deque[float] = deque(maxlen=MOST_OUTAGES)
        self._is_frequent = False
        self._failed_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether an outage was logged whose end was not."""
        return bool(self._told)

    def failed(self, cause: str, exc: StoreUnavailable, now: float) -> None:
        """Note a failure: of everything, or of one operation."""
        if not self.is_on:
            self._began.append(now)
            self._is_frequent = len(self._began) == MOST_OUTAGES and now - self._began[0] < WITHIN_SECONDS
        self._failed_at = now
        if cause != SILENCE:
            self._failing.discard(SILENCE)
        if cause == "remove" and "put" in self._failing:  # a store that takes no writes is one fault
            return
        if cause == "put":
            self._failing.discard("remove")
        self._failing.add(cause)
        if cause not in self._told:
            self._told.add(cause)
            log.warning("Redis %s. Effect: %s", explained(exc), _EFFECTS[cause])

    def worked(self, operation: str, now: float) -> None:
        """Note a success during an outage, which may be its end."""
        self._failing -= {SILENCE, operation}
        if self._failing or (self._is_frequent and now - self._failed_at < CALM_SECONDS):
            return
        self._told.clear()
        log.warning("Redis answers again and does what it is asked")
