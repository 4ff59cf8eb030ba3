"""Saying once what happens often: the first time, and then a sum."""

import logging
import time
from collections.abc import Callable

QUIET_SECONDS = 60.0


class LogThrottle:
    """Counts events, and says which of them is worth a log line: one in a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Count seconds by `clock`, which never goes back."""
        self._clock = clock
        self._quiet_until: float | None = None
        self._count = 0

    def count(self) -> int | None:
        """Count one event; return how many there were since the last line where another is due, else None."""
        self._count += 1
        now = self._clock()
        if self._quiet_until is not None and now < self._quiet_until:
            return None
        self._quiet_until = now + QUIET_SECONDS
        count, self._count = self._count, 0
        return count


class ThrottledExceptionLog:
    """Logs exceptions that nothing expects, with their places in the code: the first one, and then one in a minute."""

    def __init__(self, log: logging.Logger, effect: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Log through `log`, whose lines say what the effect of the fault is."""
        self._log = log
        self._effect = effect
        self._burst = LogThrottle(clock)

    def note(self, error: BaseException) -> None:
        """Count a fault, and log it where a line is due."""
        count = self._burst.count()
        if count is not None:
            self._log.error("%s", self._effect, exc_info=error, extra={"faults": count})
