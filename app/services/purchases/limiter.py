"""Limits the concurrent submissions of each token to what the backend accepts."""

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.backend import BackendDescription
from app.domain.errors import RateLimited

LONGEST_WAIT_SECONDS = 20.0
"""Longest wait for a free place. The caller is then told to try again."""

MOST_WAITING = 50
"""Waiting submissions of one token. Five places serve at most about as many in LONGEST_WAIT_SECONDS."""

TOO_MANY_WAIT = (
    f"This token has {MOST_WAITING} submissions waiting for one of its {{generations_at_once}} places at {{backend}}. "
    "Nothing was sent: wait for the calls under way, then try again."
)

LOOK_AGAIN_SECONDS = 2.0
"""Pause before a retry at a full backend. It refused, so nothing was started and nothing is bought twice."""


class ConcurrencyLimiter:
    """Runs as many submissions per token at once as the backend accepts. Others wait in order, for a limited time."""

    def __init__(
        self, backend: BackendDescription, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """Limit by the policy of `backend`.

        `clock` returns seconds and never goes back; `sleep` uses the same time.
        """
        self._backend = backend
        self._clock = clock
        self._sleep = sleep
        self._queues: dict[str, _Queue] = {}

    async def run(self, tenant: str, send: Callable[[], Awaitable[str]]) -> str:
        """Call `send` once a place is free, and return its result.

        `send` is called again only if the backend refused because it was full. Raises RateLimited after too long a
        wait, and whatever else `send` raises.
        """
        give_up_at = self._clock() + LONGEST_WAIT_SECONDS
        places = self._backend.policy.generations_at_once
        queue = self._queues.setdefault(tenant, _Queue(places))
        if queue.users >= places + MOST_WAITING:
            raise RateLimited(self._backend.say(TOO_MANY_WAIT))
        queue.users += 1
        try:
            await self._enter(queue)
            try:
                return await self._send(send, give_up_at)
            finally:
                queue.places.release()
        finally:
            queue.users -= 1
            if queue.users == 0:
                del self._queues[tenant]

    async def _enter(self, queue: "_Queue") -> None:
        if not queue.places.locked():
            await queue.places.acquire()
            return
        timer = asyncio.ensure_future(self._sleep(LONGEST_WAIT_SECONDS))
        place = asyncio.ensure_future(queue.places.acquire())
        try:
            await asyncio.wait([timer, place], return_when=asyncio.FIRST_COMPLETED)
            if not place.done():
                raise self._backend.error(RateLimited)
        finally:
            timer.cancel()
            if not place.done():
                place.cancel()

    async def _send(self, send: Callable[[], Awaitable[str]], give_up_at: float) -> str:
        while True:
            try:
                return await send()
            except RateLimited as exc:
                pause = exc.retry_after_seconds or LOOK_AGAIN_SECONDS
                if self._clock() + pause >= give_up_at:
                    raise
            await self._sleep(pause)


class _Queue:
    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)
        self.users = 0
