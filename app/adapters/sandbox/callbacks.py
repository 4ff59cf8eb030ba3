"""Posting the result of a generation to the URL that its request named."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx

logger = logging.getLogger(__name__)

Deliver = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Posts a JSON body to a URL; raises `httpx.HTTPError` or `OSError` where that fails."""

RETRY_SECONDS = 5.0
"""The pause before an undelivered callback is tried again; AceDataCloud documents none."""


@dataclass(slots=True)
class Callbacks:
    """The callbacks that are still to be delivered."""

    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def expect(self, delivery: Coroutine[Any, Any, None]) -> None:
        """Let `delivery` run in the background, held so that it is not collected."""
        task = asyncio.create_task(delivery)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait for every callback that is under way."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Give up what has not been delivered."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def delivered(deliver: Deliver, url: str, body: dict[str, Any]) -> bool:
    """Try once; return whether it worked. A receiver that is down is its own affair and ends up in the log."""
    try:
        await deliver(url, body)
    except (httpx.HTTPError, OSError) as error:
        logger.warning("A sandbox callback was not delivered: %s", type(error).__name__)
        return False
    return True
