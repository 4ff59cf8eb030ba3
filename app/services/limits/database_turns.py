"""A fair concurrency limiter for operations on the database: its few connections are shared between callers in turn.

An operation keeps its place until it ends, also if its caller disconnects, because the database completes it anyway.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from app.ports.repositories import DatabaseBusy
from app.services.limits.caller_quota import CallerQuota
from app.services.limits.fair_limiter import FairLimiter

MAX_WAIT_SECONDS = 8.0
"""Default of the longest wait for a turn. Clients give up after about a minute."""

BROWSERS, CLIENTS = "browsers", "clients"
"""The callers of sign-in, which take turns: browsers, and OAuth clients."""

T = TypeVar("T")


class DatabaseTurns:
    """Runs as many concurrent operations as a FairLimiter allows. Others wait, and callers take turns.

    Callers whose token the backend has not accepted share a part of the places.
    """

    def __init__(
        self,
        places: FairLimiter,
        waiting: CallerQuota,
        on_timeout: Callable[[], None] = lambda: None,
        longest_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """Run operations in `places`. `waiting` limits the number of waiting operations.

        `on_timeout` is called for each operation without a turn within `longest_wait_seconds`.
        """
        self._longest_wait_seconds = longest_wait_seconds
        self._on_timeout = on_timeout
        self._places = places
        self._waiting = waiting
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, caller: str, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for a turn of `caller`, run `operation`, and return its result.

        Raises DatabaseBusy, without starting the operation, if too many wait or no turn comes in time.
        Raises whatever the operation raises.
        """
        accepted = self._places.take_at_once(caller)
        if accepted is None:
            accepted = await self._wait(caller)
        task = asyncio.get_running_loop().create_task(operation())
        self._running.add(task)

        def on_done(task: asyncio.Task[T]) -> None:
            self._running.discard(task)
            self._places.give_back(caller, accepted=accepted)
            if not task.cancelled():
                task.exception()  # avoids asyncio's warning if the caller has disconnected

        task.add_done_callback(on_done)
        await asyncio.wait([task])  # a cancellation of the caller does not reach the operation
        return task.result()

    async def _wait(self, caller: str) -> bool:
        """Wait for a place and take it. Return the argument `accepted` for `give_back`. Raises DatabaseBusy."""
        if not self._waiting.take(caller):
            raise DatabaseBusy
        try:
            async with asyncio.timeout(self._longest_wait_seconds):
                return await self._places.take(caller)
        except TimeoutError:
            self._on_timeout()
            raise DatabaseBusy from None
        finally:
            self._waiting.give_back(caller)


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """The limiters of operations on the database, by kind. Each kind has places of its own.

    Attributes:
        reads: reads of task lists, of the owners of tasks, and of usage.
        purchases: reads and writes of purchases.
        callbacks: reads and writes for callbacks of the backend.
        sign_in: reads and writes for requests to sign-in, which strangers send.

    """

    reads: DatabaseTurns
    purchases: DatabaseTurns
    callbacks: DatabaseTurns
    sign_in: DatabaseTurns
