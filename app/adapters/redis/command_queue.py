"""The queue for connections to Redis. Time in the queue does not count against Redis."""

import asyncio
from collections.abc import Callable

from app.ports.store import StoreBusy
from app.services.limits.fair_limiter import FairLimiter, Shares

CONNECTIONS = 32
"""Operations at once."""

PER_TENANT = 16
"""Operations of one tenant, so that others are served."""

MOST_WAITING = 2_000
LONGEST_WAIT_SECONDS = 2.0


class CommandQueue(FairLimiter):
    """Grants places for operations, in turn to each waiting tenant. The queue is bounded in length and in time."""

    def __init__(self, refused: Callable[[str], None] = lambda _reason: None) -> None:
        """Begin with nobody in line; `refused` is told why, whenever there is no place."""
        super().__init__(Shares(CONNECTIONS, PER_TENANT, CONNECTIONS), lambda _tenant: True)
        self._refused = refused
        self._waiting = 0

    async def take(self, tenant: str) -> bool:
        """Return, with a place, what `give_back` is to be told. Raises StoreBusy if the queue is too long or slow."""
        if self._waiting >= MOST_WAITING:
            raise self._busy("too many operations wait")
        accepted = self.take_at_once(tenant)
        if accepted is not None:
            return accepted
        self._waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                return await super().take(tenant)
        except TimeoutError:
            raise self._busy("an operation waited too long") from None
        finally:
            self._waiting -= 1

    def _busy(self, reason: str) -> StoreBusy:
        self._refused(reason)
        return StoreBusy(reason)
