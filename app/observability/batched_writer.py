"""Log lines written together, once in a turn of the event loop, because each write is a system call."""

import asyncio
import sys
from collections.abc import Callable


class BatchedWriter:
    """Gathers the lines of a turn for standard error; those that cannot be written are counted and let go."""

    def __init__(self, lost: Callable[[int], None]) -> None:
        """Tell `lost` how many lines could not be written."""
        self._lost = lost
        self._waiting: list[str] = []

    def add(self, line: str) -> None:
        """Write `line` when this turn of the running event loop is over."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append(line)

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        try:
            sys.stderr.write("\n".join([*lines, ""]))
        except OSError:
            self._lost(len(lines))
