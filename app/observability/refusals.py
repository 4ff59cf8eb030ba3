"""Counts refusals by limits, and logs them at most once a minute for each limit."""

import logging
from collections.abc import Callable

from app.observability.metrics import Metrics
from app.services.log_throttle import LogThrottle

log = logging.getLogger(__name__)


class Refusals:
    """Counts refusals by kind, and logs the first one, then at most one line a minute with their number.

    Kinds must be constants of this program, so that callers cannot increase the size of the log or the metrics.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        """Count in `metrics`. `clock` is monotonic, in seconds."""
        self.metrics = metrics
        self._clock = clock

    def reporter(self, kind: str, effect: str) -> Callable[[], None]:
        """Return a function that records one refusal of `kind`. `effect` is the log line: what was refused, and why."""
        counter, throttle = self.metrics.limit_reached(kind), LogThrottle(self._clock)

        def report() -> None:
            counter.inc()
            if (count := throttle.count()) is not None:
                log.warning("%s (%d times since the last such line)", effect, count)

        return report
