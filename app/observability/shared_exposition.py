"""Renders the metrics for requests, which need no token. To bound the work, requests that wait share a rendering."""

import asyncio
from collections.abc import Callable

IDLE_FACTOR = 10
"""Pause after a rendering, in multiples of its duration, so that any number of requests takes a tenth of a core."""


MAX_WAITING = 100
"""Maximum number of requests that wait for a rendering: far more than monitoring systems ask at once."""


class SharedExposition:
    """Renders in a thread, one rendering at a time.

    The result is not older than the request that gets it. While MAX_WAITING requests wait, further ones get the result
    of the last rendering.
    """

    def __init__(self, render: Callable[[], bytes]) -> None:
        """Render with `render`, which is called in a thread."""
        self._render = render
        self._rendering = asyncio.Lock()
        self._earliest_start = 0.0
        """Time of the event loop at which the next rendering may begin."""
        self._waiting = 0
        self._last = b""
        self._next: asyncio.Task[bytes] | None = None
        """The rendering that has not begun. Requests that come before its start share it."""

    async def __call__(self) -> bytes:
        """Return the metrics as they are now, or as they are after the pause since the last rendering.

        While MAX_WAITING requests wait, return the last rendering if there is one.
        """
        if self._waiting >= MAX_WAITING and self._last:
            return self._last
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._render_next())
        self._waiting += 1
        try:
            return await asyncio.shield(self._next)
        finally:
            self._waiting -= 1

    async def _render_next(self) -> bytes:
        loop = asyncio.get_running_loop()
        async with self._rendering:
            await asyncio.sleep(max(0.0, self._earliest_start - loop.time()))
            self._next, started_at = None, loop.time()
            try:
                self._last = await asyncio.to_thread(self._render)
                return self._last
            finally:
                self._earliest_start = loop.time() + IDLE_FACTOR * (loop.time() - started_at)
