"""Limits how many logins are completed at the upstream at once: each is one or more requests to somebody's server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.ports.sign_in import LoginUnavailable

PLACES = 4
MAX_WAITING = 40
MAX_WAIT_SECONDS = 8.0

BUSY = (
    "Too many people return from the login at this moment, so this sign-in was not completed, and nothing was "
    "connected. Go back to the app in a minute and connect again."
)


class LoginPlaces:
    """PLACES logins are completed at once. MAX_WAITING more wait, for at most MAX_WAIT_SECONDS."""

    def __init__(self, on_refusal: Callable[[], None] = lambda: None) -> None:
        """`on_refusal` is called for each login without a place."""
        self._on_refusal = on_refusal
        self._places = asyncio.Semaphore(PLACES)
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place inside `async with`. Raises LoginUnavailable if too many wait, or if none is free in time."""
        if self._waiting >= MAX_WAITING:
            self._on_refusal()
            raise LoginUnavailable(BUSY)
        self._waiting += 1
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            self._on_refusal()
            raise LoginUnavailable(BUSY) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()
