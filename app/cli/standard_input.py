"""Standard input, line by line, so that reading can be given up: a thread that waits for a line cannot be cancelled."""

import asyncio
import os
import threading
from typing import Self


class StandardInput:
    """The lines of standard input, until it ends or `end` is called. At most one line is read ahead."""

    def __init__(self) -> None:
        """Read from a descriptor of its own: the interpreter could not close sys.stdin under a thread that reads it."""
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._wanted = threading.Semaphore(1)
        self._file = os.fdopen(os.dup(0), "rb")
        threading.Thread(target=self._read, name="standard input", daemon=True).start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self._lines.get()
        if not line:
            raise StopAsyncIteration
        self._wanted.release()
        return line

    def end(self) -> None:
        """Let the lines end here."""
        self._lines.put_nowait(None)

    def _read(self) -> None:
        line = b" "
        while line:
            self._wanted.acquire()
            line = self._file.readline()
            try:
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
            except RuntimeError:  # the loop is closed: nobody reads any more
                return
