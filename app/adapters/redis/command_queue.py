"""A queue for Redis operations, which limits how many run at once. Waiting in it does not count as a slow Redis."""

import asyncio
from collections.abc import Callable

from app.ports.store import StoreBusy
from app.services.limits.fair_limiter import FairLimiter, Shares

CONNECTIONS = 32
"""Operations that run at once, each on a connection."""

PER_TENANT = 16
"""Operations of one tenant that run at once; less than CONNECTIONS, so that other tenants are served."""

MOST_WAITING = 2_000
"""Operations in the queue. Further ones fail with StoreBusy."""

LONGEST_WAIT_SECONDS = 2.0
"""Time in the queue after which an operation fails with StoreBusy."""


class CommandQueue(FairLimiter):
    """Lets operations run, in turn for each waiting tenant. The queue is bounded in length and waiting time."""

    def __init__(self, on_refusal: Callable[[str], None] = lambda _reason: None) -> None:
        """Call `on_refusal` with the reason of each StoreBusy."""
        super().__init__(Shares(CONNECTIONS, PER_TENANT, CONNECTIONS), lambda _tenant: True)
        self._on_refusal = on_refusal
        self._waiting = 0

    async def take(self, tenant: str) -> bool:
        """Wait until an operation of `tenant` may run. Return the `accepted` for `give_back`. Raises StoreBusy."""
        if self._waiting >= MOST_WAITING:
            raise self._busy("the queue is full")
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
        self._on_refusal(reason)
        return StoreBusy(reason)
