"""Throttles repeated log lines. The first event is logged at once, later ones at most once a minute, counted."""

import logging
import time
from collections.abc import Callable

QUIET_SECONDS = 60.0
"""Minimum between two log lines."""


class LogThrottle:
    """Counts events, and allows one log line a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure time with `clock`, a monotonic clock in seconds."""
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
        """Log to `log`. The message of each line is `effect`: the effect of the exception on the service."""
        self._log = log
        self._effect = effect
        self._throttle = LogThrottle(clock)

    def note(self, error: BaseException) -> None:
        """Count an exception, and log it if a line is due."""
        count = self._throttle.count()
        if count is not None:
            self._log.error("%s", self._effect, exc_info=error, extra={"faults": count})


class ThrottledLog:
    """Logs the first event of each kind, then at most one line a minute with the number of events."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to `log`. `clock` is monotonic, in seconds."""
        self._log = log
        self._clock = clock
        self._throttles: dict[str, LogThrottle] = {}

    def warn(self, kind: str, message: str, *values: object) -> None:
        """Log `message`, unless a line of this `kind` was logged within the last minute.

        Kinds must come from a fixed set, because each has a counter.
        """
        throttle = self._throttles.setdefault(kind, LogThrottle(self._clock))
        if (count := throttle.count()) is not None:
            self._log.warning(f"{message} (%d times since the last such line)", *values, count)
