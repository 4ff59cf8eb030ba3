"""Batches log lines: one write per iteration of the event loop, because each write is a system call."""

import asyncio
import sys
from collections.abc import Callable


class BatchedWriter:
    """Writes lines to standard error in batches. Lines that cannot be written are counted and dropped."""

    def __init__(self, on_lost: Callable[[int], None]) -> None:
        """`on_lost` receives the number of lines of a failed write."""
        self._on_lost = on_lost
        self._pending: list[str] = []

    def add(self, line: str) -> None:
        """Write `line` in the next iteration of the event loop."""
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._write)
        self._pending.append(line)

    def _write(self) -> None:
        lines, self._pending = self._pending, []
        try:
            sys.stderr.write("\n".join([*lines, ""]))
        except OSError:
            self._on_lost(len(lines))
