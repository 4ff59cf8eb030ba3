"""Helpers to wait for the first of several coroutines, or for an event with a timeout, and tasks that calls share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


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


class SharedTasks(Generic[T]):
    """Asyncio tasks by key, each for all calls that need its result while it runs.

    A task goes on if a call that waits for it is cancelled.
    """

    def __init__(self) -> None:
        """Start without tasks."""
        self._running: dict[str, asyncio.Task[T]] = {}

    def __contains__(self, key: str) -> bool:
        """Return whether the task of `key` runs."""
        return key in self._running

    def start(self, key: str, coroutine: Coroutine[Any, Any, T]) -> None:
        """Run `coroutine` as the task of `key`, which must have none."""

        def forget(task: asyncio.Task[T]) -> None:
            del self._running[key]
            if not task.cancelled():
                task.exception()  # avoids asyncio's warning if every call was cancelled

        self._running[key] = task = asyncio.create_task(coroutine)
        task.add_done_callback(forget)

    async def result(self, key: str) -> T:
        """Return the result of the task of `key`, or raise its exception. Raises KeyError if it does not run."""
        return await asyncio.shield(self._running[key])
