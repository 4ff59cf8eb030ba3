"""A queue that limits the concurrency of Redis operations. An operation's timeout starts after its wait."""

import asyncio
from collections.abc import Callable

from app.ports.store import StoreBusy
from app.services.limits.fair_limiter import FairLimiter, Shares

CONNECTIONS = 32
"""Maximum number of concurrent operations, each on its own connection."""

PER_TENANT = 16
"""Maximum number of concurrent operations of one tenant.

It is less than CONNECTIONS, so that other tenants are served.
"""

MAX_WAITING = 2_000
"""Maximum number of operations in the queue. Further ones fail with StoreBusy."""

MAX_WAIT_SECONDS = 2.0
"""Default of the time in the queue after which an operation fails with StoreBusy."""


class CommandQueue(FairLimiter):
    """Admits operations, round-robin over the waiting tenants. The queue is bounded in length and waiting time."""

    def __init__(
        self,
        on_refusal: Callable[[str], None] = lambda _reason: None,
        longest_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """Call `on_refusal` with the reason of each StoreBusy. An operation waits `longest_wait_seconds` at most."""
        self._longest_wait_seconds = longest_wait_seconds
        super().__init__(Shares(CONNECTIONS, PER_TENANT, CONNECTIONS), lambda _tenant: True)
        self._on_refusal = on_refusal
        self._waiting = 0

    async def take(self, tenant: str) -> bool:
        """Wait until an operation of `tenant` may run. Return the argument `accepted` for `give_back`.

        Raises StoreBusy.
        """
        if self._waiting >= MAX_WAITING:
            raise self._busy("the queue is full")
        accepted = self.take_at_once(tenant)
        if accepted is not None:
            return accepted
        self._waiting += 1
        try:
            async with asyncio.timeout(self._longest_wait_seconds):
                return await super().take(tenant)
        except TimeoutError:
            raise self._busy("an operation waited too long") from None
        finally:
            self._waiting -= 1

    def _busy(self, reason: str) -> StoreBusy:
        self._on_refusal(reason)
        return StoreBusy(reason)
