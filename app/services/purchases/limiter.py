"""Places for submissions: the backend takes so many per token at once, and turns more away."""

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.backend import BackendDescription
from app.domain.errors import RateLimited

LONGEST_WAIT_SECONDS = 20.0
"""How long a submission may wait for a place before its caller is told to come back."""

MOST_WAITING = 50
"""Submissions of one token that wait for a place; five places give at most about as many in the time of a wait."""

TOO_MANY_WAIT = (
    f"This token has {MOST_WAITING} submissions waiting for one of its {{generations_at_once}} places at {{backend}}. "
    "Nothing was sent: wait for the calls under way, then try again."
)

LOOK_AGAIN_SECONDS = 2.0
"""How often a backend that was full is tried again: it refused, so nothing was started and nothing is bought twice."""


class ConcurrencyLimiter:
    """Lets as many submissions per token through at once as the backend takes; the others wait a little, in order."""

    def __init__(
        self, backend: BackendDescription, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """Let through what `backend` takes, by its policy.

        Wait by `clock`, which counts seconds and never goes back, and `sleep`, which keeps the same time.
        """
        self._backend = backend
        self._clock = clock
        self._sleep = sleep
        self._queues: dict[str, _Queue] = {}

    async def run(self, tenant: str, send: Callable[[], Awaitable[str]]) -> str:
        """Return what `send` returns, once there is a place for it.

        `send` is called again only where the backend refused for want of a place. Raises RateLimited when waiting took
        too long, and whatever else `send` raises.
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
