"""One log line for a burst of the same event, so that callers cannot make the log grow."""

import asyncio
import logging

QUIET_SECONDS = 60.0
"""How long further events of a kind are only counted after a line about it."""


class BurstLog:
    """Logs the first event of each kind, then one line for those of the minute that follows."""

    def __init__(self, log: logging.Logger) -> None:
        """Write to `log`."""
        self._log = log
        self._suppressed: dict[str, int] = {}

    def warn(self, kind: str, message: str, *values: object) -> None:
        """Log `message` unless one of its `kind`, from a closed set, was logged within the last minute."""
        if kind in self._suppressed:
            self._suppressed[kind] += 1
            return
        self._suppressed[kind] = 0
        self._log.warning(message, *values)
        asyncio.get_running_loop().call_later(QUIET_SECONDS, self._sum_up, kind)

    def _sum_up(self, kind: str) -> None:
        if count := self._suppressed.pop(kind):
            self._log.warning("%d more refusals of this kind in the last minute: %s", count, kind)
