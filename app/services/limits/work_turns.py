"""Spreads costly work over the iterations of the event loop, fairly between tenants.

All tasks that are ready run in one iteration. If several had hundreds of results to decode or to render, an iteration
would take 50 ms, and a purchase, which takes part in about 25 of them, more than a second.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from app.services.limits.fair_limiter import FairLimiter, Shares

SMALL_BATCH = 50
"""Work on this number of tasks or fewer needs no turn: it takes less than a millisecond."""

SMALL_BODY_BYTES = 16 * 1024
"""Decoding a response of this size or less needs no turn. The records of ten tasks are smaller."""


class WorkTurns:
    """Grants turns for costly work without an `await`: at most one in an iteration, round-robin between tenants."""

    def __init__(self, is_accepted: Callable[[str], bool]) -> None:
        """`is_accepted` returns whether the backend has accepted a tenant's token lately; see FairLimiter."""
        self._turn = FairLimiter(Shares(places=1, per_tenant=1, unaccepted=1), is_accepted)

    async def wait_for_batch(self, tenant: str, size: int) -> None:
        """Wait as `wait` does if the work is on more than SMALL_BATCH tasks; `size` is their number."""
        if size > SMALL_BATCH:
            await self.wait(tenant)

    async def wait(self, tenant: str) -> None:
        """Return in an iteration of the event loop in which no other caller of this method has a turn."""
        accepted = await self._turn.take(tenant)
        asyncio.get_running_loop().call_soon(partial(self._turn.give_back, tenant, accepted=accepted))
