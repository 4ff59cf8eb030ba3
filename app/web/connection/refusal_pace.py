"""Paces clients that are refused: the connections of refused requests are read again one after another."""

import time
from collections.abc import Callable

from starlette.types import Scope

from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal

REFUSALS_PER_SECOND = 500.0
"""Maximum number of refused connections per second, in all, whose reading is resumed. A refusal costs 200 to 400 µs.

Clients that come again at once would otherwise fill each turn of the event loop, and with it each statement of a
purchase: 400 such connections delayed an honest purchase from 0.1 to 6.5 seconds.
"""

REFUSED_CALL_COST = 5
"""A refused tool call costs as much as this number of other refusals, because its arguments are validated first."""

MAX_PAUSE_SECONDS = 4.0
"""Longest pause in reading a refused connection. A disconnect during the pause is noticed at its end."""


class RefusalPace:
    """Gives each refused connection of a process a pause, which is short while refusals are few."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds that never go back."""
        self._clock = clock
        self._last_resume_at = 0.0

    def delay_next_read(self, scope: Scope, cost: int = 1) -> None:
        """Pause reading the connection of a request, from its response on.

        Pauses are spaced so that at most REFUSALS_PER_SECOND connections resume per second. A request of a higher
        `cost` counts as so many.
        """
        disconnect: DisconnectSignal | None = scope.get(DISCONNECT_SIGNAL)
        if disconnect is None:
            return
        now = self._clock()
        resume_at = max(self._last_resume_at, now) + cost / REFUSALS_PER_SECOND
        self._last_resume_at = min(resume_at, now + MAX_PAUSE_SECONDS)
        disconnect.pause_seconds = self._last_resume_at - now
