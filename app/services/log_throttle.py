"""Throttles repeated log lines: the first event is logged, then one line a minute with the count."""

import logging
import time
from collections.abc import Callable

QUIET_SECONDS = 60.0


class LogThrottle:
    """Counts events, and allows one log line a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Count seconds by `clock`, which never goes back."""
        self._clock = clock
        self._quiet_until: float | None = None
        self._count = 0

    def count(self) -> int | None:
        """Count one event. Return the number of events since the last line if a line is due, else None."""
        self._count += 1
        now = self._clock()
        if self._quiet_until is not None and now < self._quiet_until:
            return None
        self._quiet_until = now + QUIET_SECONDS
        count, self._count = self._count, 0
        return count


class ThrottledExceptionLog:
    """Logs unexpected exceptions with their tracebacks: the first one, then at most one a minute."""

    def __init__(self, log: logging.Logger, effect: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Log through `log`; each line is `effect`, the effect of the exception."""
        self._log = log
        self._effect = effect
        self._burst = LogThrottle(clock)

    def note(self, error: BaseException) -> None:
        """Count an exception, and log it if a line is due."""
        count = self._burst.count()
        if count is not None:
            self._log.error("%s", self._effect, exc_info=error, extra={"faults": count})
