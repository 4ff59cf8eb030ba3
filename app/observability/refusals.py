"""Counts refusals by a limit, and logs a burst of them in one line."""

import logging
from collections.abc import Callable

from app.observability.metrics import Metrics
from app.services.log_throttle import LogThrottle

log = logging.getLogger(__name__)


class Refusals:
    """Counts refusals by kind, and logs the first one, then at most one line a minute with their number.

    Kinds are constants of this program, so that callers cannot make the log or the metrics grow.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        """Count in `metrics`. `clock` returns seconds that never go back."""
        self.metrics = metrics
        self._clock = clock

    def reporter(self, kind: str, effect: str) -> Callable[[], None]:
        """Return a function that records one refusal of `kind`. `effect` is the log line: what was refused, and why."""
        counter, throttle = self.metrics.limit_reached(kind), LogThrottle(self._clock)

        def note() -> None:
            counter.inc()
            if (count := throttle.count()) is not None:
                log.warning("%s (%d times since the last such line)", effect, count)

        return note
