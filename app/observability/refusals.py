"""What operators hear of refused callers: every refusal is counted, and a burst of them is one line in the log."""

import logging
from collections.abc import Callable

from app.observability.metrics import Metrics

BURST_SECONDS = 60.0
"""How long refusals of one kind count as one burst."""

log = logging.getLogger(__name__)


class Refusals:
    """Counts refusals by kind and logs each burst once: its first refusal at once, the others as a number later.

    Kinds are names from this program's text, so that callers can grow neither the log nor the metrics.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        """Count in `metrics`; `clock` counts seconds and never goes back."""
        self._metrics = metrics
        self._clock = clock
        self._bursts: dict[str, _Burst] = {}

    def reporter(self, kind: str, effect: str) -> Callable[[], None]:
        """Return what notes one refusal of `kind`; `effect` tells an operator what was refused and why."""

        def note() -> None:
            self._metrics.limit_reached(kind).inc()
            self._log(kind, effect)

        return note

    def _log(self, kind: str, effect: str) -> None:
        now, burst = self._clock(), self._bursts.get(kind)
        if burst is not None and now < burst.until:
            burst.unlogged += 1
            return
        since = f" {burst.unlogged} more were refused since the last such line." if burst and burst.unlogged else ""
        self._bursts[kind] = _Burst(now + BURST_SECONDS)
        log.warning("%s%s", effect, since)


class _Burst:
    def __init__(self, until: float) -> None:
        self.until = until
        self.unlogged = 0
