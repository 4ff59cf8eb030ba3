"""Throttles log lines about callers by kind, so that callers cannot make the log grow."""

import logging
import time
from collections.abc import Callable

from app.services.log_throttle import LogThrottle


class ThrottledLog:
    """Logs the first event of each kind, then at most one line a minute with the count."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to `log`; `clock` counts seconds and never goes back."""
        self._log = log
        self._clock = clock
        self._bursts: dict[str, LogThrottle] = {}

    def warn(self, kind: str, message: str, *values: object) -> None:
        """Log `message` unless one of its `kind`, from a closed set, was logged within the last minute."""
        burst = self._bursts.setdefault(kind, LogThrottle(self._clock))
        if (count := burst.count()) is not None:
            self._log.warning(f"{message} (%d times since the last such line)", *values, count)
