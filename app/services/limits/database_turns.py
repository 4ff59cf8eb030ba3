"""Lets callers use the database in turn, because its few connections serve whoever asks first.

An operation keeps its place until it ends, also if its caller disconnects: the database runs it to its end anyway.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from app.ports.repositories import DatabaseBusy
from app.services.limits.caller_quota import CallerQuota
from app.services.limits.fair_limiter import FairLimiter

LONGEST_WAIT_SECONDS = 8.0
"""Longest wait for a turn."""

T = TypeVar("T")


class DatabaseTurns:
    """Runs operations of callers: at most as many at once as the limiter allows, and those of waiting callers in turn.

    Callers whose token the backend has not accepted share a part of the places.
    """

    def __init__(self, places: FairLimiter, waiting: CallerQuota) -> None:
        """Run operations in `places`. `waiting` limits the number of waiting operations."""
        self._places = places
        self._waiting = waiting
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, caller: str, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `operation` in a turn of `caller`, and return its result.

        Raises DatabaseBusy if no turn came: the operation was not started. Raises whatever the operation raises.
        """
        accepted = self._places.take_at_once(caller)
        if accepted is None:
            accepted = await self._wait(caller)
        task = asyncio.get_running_loop().create_task(operation())
        self._running.add(task)

        def ended(task: asyncio.Task[T]) -> None:
            self._running.discard(task)
            self._places.give_back(caller, accepted=accepted)
            if not task.cancelled():
                task.exception()  # avoids asyncio's warning if the caller has disconnected

        task.add_done_callback(ended)
        await asyncio.wait([task])  # a cancellation of the caller does not reach the operation
        return task.result()

    async def _wait(self, caller: str) -> bool:
        """Wait for a place and take it. Return the argument `accepted` for `give_back`. Raises DatabaseBusy."""
        if not self._waiting.take(caller):
            raise DatabaseBusy
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                return await self._places.take(caller)
        except TimeoutError:
            raise DatabaseBusy from None
        finally:
            self._waiting.give_back(caller)


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """The turns of all callers at the database. Each kind has connections of its own.

    Attributes:
        reads: of lists of tasks, of the owners of tasks, and of usage.
        purchases: what purchases read and write.
        callbacks: what callbacks of the backend read and write.

    """

    reads: DatabaseTurns
    purchases: DatabaseTurns
    callbacks: DatabaseTurns
