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

BYTES_IN_AN_ITERATION = 64 * 1024
"""A response of this size takes about a millisecond to decode, and the longest, of 4 MB, 40 ms."""


class WorkTurns:
    """Grants turns for costly work without an `await`: at most one in an iteration, round-robin between tenants.

    Longer work is followed by iterations in which nobody gets a turn, so that an iteration takes little on average.
    """

    def __init__(self, is_accepted: Callable[[str], bool]) -> None:
        """`is_accepted` returns whether the backend has accepted a tenant's token lately; see FairLimiter."""
        self._turn = FairLimiter(Shares(places=1, per_tenant=1, unaccepted=1), is_accepted)

    async def wait_for_batch(self, tenant: str, size: int) -> None:
        """Wait as `wait` does if the work is on more than SMALL_BATCH tasks; `size` is their number."""
        if size > SMALL_BATCH:
            await self.wait(tenant, iterations=size // SMALL_BATCH)

    async def wait_for_body(self, tenant: str, size: int) -> None:
        """Wait as `wait` does if the work is to decode a response of more than SMALL_BODY_BYTES; `size` is in bytes."""
        if size > SMALL_BODY_BYTES:
            await self.wait(tenant, iterations=1 + size // BYTES_IN_AN_ITERATION)

    async def wait(self, tenant: str, iterations: int = 1) -> None:
        """Return in an iteration of the event loop in which no other caller has a turn, the first of `iterations`."""
        accepted = await self._turn.take(tenant)
        self._give_back_after(iterations, partial(self._turn.give_back, tenant, accepted=accepted))

    def _give_back_after(self, iterations: int, give_back: Callable[[], None]) -> None:
        if iterations == 0:
            give_back()
        else:
            asyncio.get_running_loop().call_soon(self._give_back_after, iterations - 1, give_back)
