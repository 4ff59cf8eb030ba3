"""Waiting for something to happen, but not for ever."""

import asyncio
from collections.abc import Awaitable, Callable


async def happens_within(happened: asyncio.Event, seconds: float, sleep: Callable[[float], Awaitable[None]]) -> bool:
    """Return whether `happened` was set within `seconds` of the time that `sleep` keeps."""
    timer, waiting = asyncio.ensure_future(sleep(seconds)), asyncio.ensure_future(happened.wait())
    try:
        await asyncio.wait([timer, waiting], return_when=asyncio.FIRST_COMPLETED)
        return happened.is_set()
    finally:
        timer.cancel()
        waiting.cancel()
