"""Counts every refused call, and logs a burst of refusals in one line."""

import logging
from collections.abc import Callable

from app.observability.metrics import Metrics
from app.services.log_throttle import LogThrottle

log = logging.getLogger(__name__)


class Refusals:
    """Counts refusals by kind and logs the first of a burst, then one line a minute with how many there were.

    Kinds are names from this program's text, so that callers can grow neither the log nor the metrics.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        """Count in `metrics`; `clock` counts seconds and never goes back."""
        self.metrics = metrics
        self._clock = clock

    def reporter(self, kind: str, effect: str) -> Callable[[], None]:
        """Return what notes one refusal of `kind`; `effect` tells an operator what was refused and why."""
        counter, burst = self.metrics.limit_reached(kind), LogThrottle(self._clock)

        def note() -> None:
            counter.inc()
            if (count := burst.count()) is not None:
                log.warning("%s (%d times since the last such line)", effect, count)

        return note
