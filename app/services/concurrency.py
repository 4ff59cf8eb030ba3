"""Helpers to wait for the first of several coroutines, or for an event with a timeout."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


async def wait_first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Return when the first of `waits` ends, and cancel the others."""
    waiting = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waiting:
            wait.cancel()


async def wait_for_event(event: asyncio.Event, seconds: float, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Return when `event` is set, or after `seconds` as measured by `sleep`."""

    async def timeout() -> None:
        await sleep(seconds)

    await wait_first(event.wait(), timeout())
