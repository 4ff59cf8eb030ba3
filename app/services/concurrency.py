"""Waiting for something to happen, but not for ever."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


async def wait_first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Return when the first of `waits` is over; the others are given up."""
    waiting = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waiting:
            wait.cancel()


async def wait_for_event(happened: asyncio.Event, seconds: float, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Return when `happened` is set, or after `seconds` of the time that `sleep` keeps."""

    async def time_is_over() -> None:
        await sleep(seconds)

    await wait_first(happened.wait(), time_is_over())
