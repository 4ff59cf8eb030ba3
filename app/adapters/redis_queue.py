"""The line before the connections to Redis: what waits in it says nothing of Redis, so its time is counted apart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from app.ports.store import StoreBusy
from app.services.fair_limiter import FairLimiter, Shares

CONNECTIONS = 32
"""Operations at once."""

PER_TENANT = 16
"""Of one tenant: its flood leaves room for the others, who take turns with it."""

MOST_WAITING = 2_000
LONGEST_WAIT_SECONDS = 2.0


class RedisQueue:
    """Grants places for operations, by turns to the tenants that want one."""

    def __init__(self, refused: Callable[[str], None] = lambda _reason: None) -> None:
        """Begin with nobody in line; `refused` is told why, whenever there is no place."""
        self._refused = refused
        self._places = FairLimiter(Shares(CONNECTIONS, PER_TENANT, CONNECTIONS), lambda _tenant: True)
        self._waiting = 0

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[None]:
        """Hold a place while entered. Raises StoreBusy where the line is too long, or was too slow."""
        if self._waiting >= MOST_WAITING:
            raise self._busy("too many operations wait")
        async with AsyncExitStack() as stack:
            self._waiting += 1
            try:
                async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                    await stack.enter_async_context(self._places.place(tenant))
            except TimeoutError:
                raise self._busy("an operation waited too long") from None
            finally:
                self._waiting -= 1
            yield

    def _busy(self, reason: str) -> StoreBusy:
        self._refused(reason)
        return StoreBusy(reason)
