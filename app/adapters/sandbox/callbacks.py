"""Posts the result of a generation to the callback URL of its request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx

logger = logging.getLogger(__name__)

Deliver = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Posts a JSON body to a URL. Raises `httpx.HTTPError` or `OSError` if that fails."""

RETRY_SECONDS = 5.0
"""Delay before a callback is retried; AceDataCloud documents none."""


@dataclass(slots=True)
class Callbacks:
    """The background tasks that deliver callbacks. Each waits for a generation to end, and then posts its result."""

    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, delivery: Coroutine[Any, Any, None]) -> None:
        """Run `delivery` in the background. A reference to its task keeps it from being garbage-collected."""
        task = asyncio.create_task(delivery)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until every callback is delivered or given up. This includes the end of the running generations."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Cancel the callbacks that are not delivered yet."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def try_to_deliver(deliver: Deliver, url: str, body: dict[str, Any]) -> bool:
    """Post `body` to `url` once, and return whether that succeeded. A failure is logged."""
    try:
        await deliver(url, body)
    except (httpx.HTTPError, OSError) as exc:
        logger.warning(
            "A callback of the sandbox could not be posted to its URL: %s. Its task ends nevertheless",
            type(exc).__name__,
        )
        return False
    return True
