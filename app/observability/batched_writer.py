"""Batches log lines: one write for each iteration of the event loop, because each write is a system call."""

import asyncio
import sys
from collections.abc import Callable


class BatchedWriter:
    """Writes lines to standard error in batches. Lines that cannot be written are counted and dropped."""

    def __init__(self, lost: Callable[[int], None]) -> None:
        """`lost` receives the number of lines that could not be written."""
        self._lost = lost
        self._waiting: list[str] = []

    def add(self, line: str) -> None:
        """Write `line` at the end of this iteration of the event loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append(line)

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        try:
            sys.stderr.write("\n".join([*lines, ""]))
        except OSError:
            self._lost(len(lines))
