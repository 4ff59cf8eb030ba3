"""An asynchronous reader of standard input that can be ended while it waits for a line.

A blocking read cannot be cancelled. It runs in a daemon thread, for which the process does not wait at its exit.
"""

import asyncio
import os
import threading
from typing import Self


class StandardInput:
    """Iterates over the lines of standard input, until it ends or `end` is called. At most one line is read ahead."""

    def __init__(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._may_read = threading.Semaphore(1)
        # Not sys.stdin: the interpreter closes it at exit, for which it needs the lock that a reading thread holds.
        self._file = os.fdopen(os.dup(0), "rb")
        threading.Thread(target=self._read, name="standard input", daemon=True).start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self._lines.get()
        if not line:
            raise StopAsyncIteration
        self._may_read.release()
        return line

    def end(self) -> None:
        """End the iteration after the lines that are queued."""
        self._lines.put_nowait(None)

    def _read(self) -> None:
        line = b" "
        while line:
            self._may_read.acquire()
            line = self._file.readline()
            try:
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
            except RuntimeError:  # the event loop is closed, so nothing will read this line
                return
