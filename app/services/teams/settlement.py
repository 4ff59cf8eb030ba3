"""Settles what purchases of teams have reserved: taken when the task completes, given back when it fails."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.domain.task import Task, TaskState
from app.ports.auth import Caller
from app.ports.ledger import Ledger
from app.ports.repositories import DatabaseUnavailable
from app.services.log_throttle import ThrottledExceptionLog

MOST_ENDED = 10_000
"""Ended tasks that wait to be settled, about 0.2 KB each. What is beyond is settled when it is overdue."""

AGAIN_SECONDS = 5.0
"""Pause after a try that the database did not answer."""

LOOK_SECONDS = 30.0
"""Pause between two looks for overdue reservations."""

ASKED_AT_ONCE = 100

log = logging.getLogger(__name__)

Read = Callable[[Caller, Sequence[str]], Awaitable[Any]]


class Settlement:
    """Settles the purchases of tasks that are seen to have ended, in the background."""

    def __init__(self, ledger: Ledger, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Settle in `ledger`."""
        self._ledger = ledger
        self._sleep = sleep
        self._ended: dict[tuple[str, str], bool] = {}
        self._wake = asyncio.Event()
        self._faults = ThrottledExceptionLog(log, "Purchases of teams could not be settled: they become overdue")

    def note(self, team_id: str, tasks: Sequence[Task]) -> None:
        """Settle those of a team's tasks that have ended, soon."""
        for task in tasks:
            if task.is_final and len(self._ended) < MOST_ENDED:
                self._ended[team_id, task.id] = task.state is TaskState.COMPLETED
                self._wake.set()

    async def run(self) -> None:
        """Settle what is noted. The coroutine runs until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.settle_noted()
            except DatabaseUnavailable:
                await self._sleep(AGAIN_SECONDS)
                self._wake.set()
            except Exception as exc:  # noqa: BLE001 - the loop must go on, or nothing would be settled any more
                self._faults.note(exc)

    async def settle_last(self) -> None:
        """Settle what is noted before the process ends. What the database does not take becomes overdue."""
        try:
            await self.settle_noted()
        except DatabaseUnavailable:
            log.info("The database does not answer, so %d ended tasks are settled after a restart", len(self._ended))

    async def settle_noted(self) -> None:
        """Settle what is noted, once. Raises DatabaseUnavailable, and keeps what is left."""
        while self._ended:
            team_id, task_id = next(iter(self._ended))
            is_paid = self._ended[team_id, task_id]
            await self._ledger.settle_task(team_id, task_id, is_paid=is_paid)
            self._ended.pop((team_id, task_id), None)


class OverdueReservations:
    """Reads the tasks of reservations that nobody has settled for long: `Settlement` then sees whether they ended."""

    def __init__(
        self,
        ledger: Ledger,
        read: Read,
        caller_of: Callable[[str], Caller],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Take overdue reservations from `ledger`, and `read` their tasks as `caller_of` their team."""
        self._ledger = ledger
        self._read = read
        self._caller_of = caller_of
        self._sleep = sleep
        self._faults = ThrottledExceptionLog(log, "Overdue reservations could not be read")

    async def run(self) -> None:
        """Look for overdue reservations every LOOK_SECONDS. The coroutine runs until it is cancelled."""
        while True:
            await self._sleep(LOOK_SECONDS)
            try:
                await self.read_overdue()
            except DatabaseUnavailable:
                pass  # they stay due
            except Exception as exc:  # noqa: BLE001 - the loop must go on, or nothing would be settled any more
                self._faults.note(exc)

    async def read_overdue(self) -> None:
        """Read the tasks of reservations that are due. Each process takes others. Raises DatabaseUnavailable."""
        by_team: dict[str, list[str]] = defaultdict(list)
        for entry in await self._ledger.take_overdue(ASKED_AT_ONCE):
            if entry.task_id is not None:
                by_team[entry.spender.team].append(entry.task_id)
        for team_id, task_ids in by_team.items():
            await self._read(self._caller_of(team_id), task_ids)
