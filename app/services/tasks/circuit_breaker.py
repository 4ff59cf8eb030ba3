"""A circuit breaker around the store. A failing store counts as empty, so an outage only makes calls slower."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from app.ports.store import Store, StoreBusy, StoreOverfull, StoreRefuses, StoreUnavailable
from app.ports.telemetry import Telemetry
from app.services.tasks.store_probe import explained

T = TypeVar("T")

COOLDOWN_SECONDS = 1.0
"""Pause after a failure. One caller then tries its operation."""

FREQUENT_OUTAGES = 3
FREQUENT_WITHIN_SECONDS = 600.0
CALM_SECONDS = 60.0
"""An outage that is the third within 10 minutes ends only after a minute without failures.

A nearly full or slow store alternates between failure and success. Without this rule, each change would be logged.
"""

UNREACHABLE = "unreachable"
_EFFECTS = {
    UNREACHABLE: "tasks are read from the backend until Redis is back. Each process caches results for itself, and "
    "calls that wait for a task see its end later",
    "get": "cached results cannot be read from Redis, so finished tasks are read from the backend again",
    "put": "cached results are still served, but each process caches new results for itself only, and the others read "
    "them from the backend again",
    "remove": "a task whose callback arrived may be shown as running for a few more seconds",
}
"""The effect of each cause of an outage, for the log: an unreachable store, or one kind of operation refused."""

log = logging.getLogger(__name__)


class FailOpenStore:
    """A store whose reads return nothing, and whose writes are dropped, while the store behind it fails.

    While the store does not answer, all operations pause for a cooldown. After a refusal, only that kind of operation
    pauses: a full store and a read-only one still serve reads. The log has one line for each failing kind, and one for
    the recovery.
    """

    def __init__(self, store: Store, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        """Wrap `store`; `clock` returns seconds and never goes back."""
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._cooldowns = {cause: _Cooldown() for cause in _EFFECTS}
        self._outages = _OutageLog()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the stored values; None for all keys while the store cannot be read."""
        nothing: list[bytes | None] = [None] * len(keys)
        return await self._guard("get", lambda: self._store.get_many(keys), nothing)

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Store the values, or drop them while the store accepts no writes."""
        await self._guard("put", lambda: self._store.put_many(values, ttl_seconds), None)

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the keys. While the store accepts no writes, they stay until they expire."""
        await self._guard("remove", lambda: self._store.remove_many(keys), None)

    async def ping(self) -> None:
        """Ping the store, even during a cooldown. Raises StoreUnavailable."""
        await self._store.ping()

    async def _guard(self, operation: str, call: Callable[[], Awaitable[T]], fallback: T) -> T:
        if not self._admit(operation):
            return fallback
        try:
            result = await call()
        except (StoreBusy, StoreOverfull):  # limits of this process, not failures of the store
            return fallback
        except StoreUnavailable as exc:
            self._failed(operation, exc)
            return fallback
        if self._outages.is_open:
            self._cooldowns[UNREACHABLE].end()
            self._cooldowns[operation].end()
            self._outages.worked(operation, self._clock())
        return result

    def _admit(self, operation: str) -> bool:
        if not self._outages.is_open:
            return True
        now = self._clock()
        return self._cooldowns[UNREACHABLE].admit(now) and self._cooldowns[operation].admit(now)

    def _failed(self, operation: str, exc: StoreUnavailable) -> None:
        self._telemetry.store_failed(operation)
        now, cause = self._clock(), UNREACHABLE
        if isinstance(exc, StoreRefuses):
            self._cooldowns[UNREACHABLE].end()
            cause = operation
        self._cooldowns[cause].begin(now)
        self._outages.failed(cause, exc, now)


class _Cooldown:
    """A pause. At its end, one caller is admitted, and a new pause begins for the others."""

    def __init__(self) -> None:
        self._until: float | None = None

    def begin(self, now: float) -> None:
        self._until = now + COOLDOWN_SECONDS

    def end(self) -> None:
        self._until = None

    def admit(self, now: float) -> bool:
        """Return whether the caller may try. If the pause is over, begin a new one for other callers."""
        if self._until is None:
            return True
        if now < self._until:
            return False
        self.begin(now)
        return True


class _OutageLog:
    """Logs each new kind of failure of an outage, and its end."""

    def __init__(self) -> None:
        self._failing: set[str] = set()
        """Causes whose last operation failed."""
        self._logged: set[str] = set()
        """Causes that were logged in this outage."""
        self._start_times: deque[float] = deque(maxlen=FREQUENT_OUTAGES)
        self._is_frequent = False
        self._last_failed_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the start of an outage was logged and its end was not."""
        return bool(self._logged)

    def failed(self, cause: str, exc: StoreUnavailable, now: float) -> None:
        """Record a failure. `cause` is UNREACHABLE if the store does not answer, else the refused operation."""
        if not self.is_open:
            self._start_times.append(now)
            self._is_frequent = (
                len(self._start_times) == FREQUENT_OUTAGES and now - self._start_times[0] < FREQUENT_WITHIN_SECONDS
            )
        self._last_failed_at = now
        if cause != UNREACHABLE:
            self._failing.discard(UNREACHABLE)
        if cause == "remove" and "put" in self._failing:  # one cause: the store accepts no writes
            return
        if cause == "put":
            self._failing.discard("remove")
        self._failing.add(cause)
        if cause not in self._logged:
            self._logged.add(cause)
            log.warning("Redis %s. Effect: %s", explained(exc), _EFFECTS[cause])

    def worked(self, operation: str, now: float) -> None:
        """Record a success during an outage. Log the end of the outage if nothing fails any more."""
        self._failing -= {UNREACHABLE, operation}
        if self._failing or (self._is_frequent and now - self._last_failed_at < CALM_SECONDS):
            return
        self._logged.clear()
        log.warning("Redis answers again")
