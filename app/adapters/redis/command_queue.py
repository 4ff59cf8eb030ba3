"""The queue for connections to Redis. Time in the queue does not count against Redis."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from app.ports.store import StoreBusy
from app.services.limits.fair_limiter import FairLimiter, Shares

CONNECTIONS = 32
"""Operations at once."""

PER_TENANT = 16
"""Operations of one tenant, so that others are served."""

MOST_WAITING = 2_000
LONGEST_WAIT_SECONDS = 2.0


class CommandQueue:
    """Grants places for operations, in turn to each waiting tenant."""

    def __init__(self, refused: Callable[[str], None] = lambda _reason: None) -> None:
        """Begin with nobody in line; `refused` is told why, whenever there is no place."""
        self._refused = refused
        self._places = FairLimiter(Shares(CONNECTIONS, PER_TENANT, CONNECTIONS), lambda _tenant: True)
        self._waiting = 0

    def place(self, tenant: str) -> AbstractAsyncContextManager[None]:
        """Hold a place while entered. Raises StoreBusy where the line is too long, or was too slow."""
        return _Place(self, tenant)

    async def take(self, tenant: str) -> bool:
        """Return, with a place, what `give_back` is to be told. Raises StoreBusy as `place` does."""
        if self._waiting >= MOST_WAITING:
            raise self._busy("too many operations wait")
        accepted = self._places.take_at_once(tenant)
        if accepted is not None:
            return accepted
        self._waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                return await self._places.take(tenant)
        except TimeoutError:
            raise self._busy("an operation waited too long") from None
        finally:
            self._waiting -= 1

    def give_back(self, tenant: str, *, accepted: bool) -> None:
        """Give back a place that was taken."""
        self._places.give_back(tenant, accepted=accepted)

    def _busy(self, reason: str) -> StoreBusy:
        self._refused(reason)
        return StoreBusy(reason)


class _Place:
    """A place while entered."""

    __slots__ = ("_accepted", "_queue", "_tenant")

    def __init__(self, queue: CommandQueue, tenant: str) -> None:
        self._queue = queue
        self._tenant = tenant
        self._accepted = False

    async def __aenter__(self) -> None:
        self._accepted = await self._queue.take(self._tenant)

    async def __aexit__(self, *_exc: object) -> None:
        self._queue.give_back(self._tenant, accepted=self._accepted)
