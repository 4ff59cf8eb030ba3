"""Throttles warnings that callers can cause, so that callers cannot fill the log."""

import logging
import time
from collections.abc import Callable

from app.services.log_throttle import LogThrottle


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
