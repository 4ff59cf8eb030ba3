"""A cache store whose outages cost speed only: while it is down it is an empty store."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from app.ports import Store, StoreRefuses, StoreUnavailable, Telemetry

T = TypeVar("T")

REST_SECONDS = 1.0
"""How long a store that failed is left alone; one caller then tries it again on behalf of all."""

log = logging.getLogger(__name__)


class FailOpenStore:
    """Answers for a store that may be out: says once that it is gone, and once that it is back."""

    def __init__(self, store: Store, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        """Stand before `store`; `clock` counts seconds and never goes back."""
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._down = False
        self._rest_until = 0.0

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return what the store holds, or nothing for every key while it is out."""
        nothing: list[bytes | None] = [None] * len(keys)
        return await self._unless_out("get", lambda: self._store.get_many(keys), nothing)

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Keep the values, or nothing while the store is out."""
        await self._unless_out("put", lambda: self._store.put_many(values, ttl_seconds), None)

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Forget the keys, or leave them to their time to live while the store is out."""
        await self._unless_out("remove", lambda: self._store.remove_many(keys), None)

    async def ping(self) -> None:
        """Ask the store itself. Raises StoreUnavailable."""
        await self._store.ping()

    async def _unless_out(self, operation: str, ask: Callable[[], Awaitable[T]], otherwise: T) -> T:
        if self._resting():
            return otherwise
        try:
            answer = await ask()
        except StoreUnavailable as fault:
            self._went_down(operation, fault)
            return otherwise
        self._came_back()
        return answer

    def _resting(self) -> bool:
        if not self._down:
            return False
        if self._clock() < self._rest_until:
            return True
        self._rest_until = self._clock() + REST_SECONDS  # this caller tries; the others rest on
        return False

    def _went_down(self, operation: str, fault: StoreUnavailable) -> None:
        self._telemetry.store_failed(operation)
        self._rest_until = self._clock() + REST_SECONDS
        if not self._down:
            self._down = True
            what = "refuses" if isinstance(fault, StoreRefuses) else "does not answer"
            log.warning("Redis %s (%s): answering from the backend until it is back", what, fault)

    def _came_back(self) -> None:
        if self._down:
            self._down = False
            log.warning("Redis answers again")
