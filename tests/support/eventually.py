"""Waiting for what happens in the background, however loaded the machine is."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

LONGEST_SECONDS = 20
"""Far above what anything takes that happens at all: a bound on a test that fails, not a promise of the service."""


async def eventually(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return when `holds` is true. Raises TimeoutError after LONGEST_SECONDS."""
    async with asyncio.timeout(LONGEST_SECONDS):
        while True:
            result = holds()
            if await result if inspect.isawaitable(result) else result:
                return
            await asyncio.sleep(0.002)
