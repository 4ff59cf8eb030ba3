"""Paces clients that are refused: responses to refused requests are held back, and sent one after another."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.types import Scope

from app.services.concurrency import wait_for_event
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal

REFUSALS_PER_SECOND = 500.0
"""Maximum number of refusals that are sent per second, in all. A refusal costs 200 to 400 µs.

Clients that come again at once would otherwise fill each turn of the event loop, and each statement of a purchase waits
for a turn: 400 such connections delayed an honest purchase from 0.1 to 6.5 seconds.
"""

REFUSED_CALL_COST = 5
"""A refused tool call costs as much as this number of other refusals, because its arguments are validated first."""

MAX_PAUSE_SECONDS = 4.0
"""Maximum time for which the response to a request is held back."""


class RefusalPace:
    """Holds back each refusal of a process. The time is short while refusals are few.

    The response is held back instead of the next request of its connection, because a reverse proxy sends requests of
    other clients on that connection.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` returns seconds that never go back. `sleep` takes seconds."""
        self._clock = clock
        self._sleep = sleep
        self._last_sent_at = 0.0

    async def hold_back(self, scope: Scope, cost: int = 1) -> None:
        """Wait until the refusal of a request may be sent, or its client has disconnected.

        A refusal counts as `cost` refusals. All refusals of one request wait MAX_PAUSE_SECONDS at most.
        """
        signal: DisconnectSignal = scope.get(DISCONNECT_SIGNAL) or DisconnectSignal()
        now = self._clock()
        if signal.answer_until is None:
            signal.answer_until = now + MAX_PAUSE_SECONDS
        self._last_sent_at = min(max(self._last_sent_at, now) + cost / REFUSALS_PER_SECOND, now + MAX_PAUSE_SECONDS)
        seconds = min(self._last_sent_at, signal.answer_until) - now
        if seconds > 0:
            await wait_for_event(signal.disconnected, seconds, self._sleep)
