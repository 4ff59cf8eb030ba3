"""Settles the reservations of teams' purchases: charged when the task completes, released when it fails."""

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

MAX_ENDED = 10_000
"""Queue size of ended tasks to settle, about 0.2 KB each. Tasks that do not fit are settled once overdue."""

RETRY_SECONDS = 5.0
"""Pause before the next attempt if the database does not answer."""

POLL_SECONDS = 30.0
"""Interval at which the database is read for overdue reservations."""

BATCH_SIZE = 100
"""Maximum number of overdue reservations that are read at once."""

log = logging.getLogger(__name__)

Read = Callable[[Caller, Sequence[str]], Awaitable[Any]]
"""Reads tasks at the backend. Tasks that have ended are then passed to `Settlement.enqueue`."""


class Settlement:
    """Settles, in the background, the purchases of tasks that a read has found ended."""

    def __init__(self, ledger: Ledger, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Settle in `ledger`."""
        self._ledger = ledger
        self._sleep = sleep
        self._ended: dict[tuple[str, str], bool] = {}
        """Whether an ended task completed and is charged, by team id and task id."""
        self._wake = asyncio.Event()
        self._faults = ThrottledExceptionLog(log, "Purchases of teams could not be settled: they become overdue")

    def enqueue(self, team_id: str, tasks: Sequence[Task]) -> None:
        """Queue the tasks among `tasks` that have ended. All are of the same team."""
        for task in tasks:
            if task.is_final and len(self._ended) < MAX_ENDED:
                self._ended[team_id, task.id] = task.state is TaskState.COMPLETED
                self._wake.set()

    async def run(self) -> None:
        """Settle queued tasks. The coroutine runs until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.settle_queued()
            except DatabaseUnavailable:
                await self._sleep(RETRY_SECONDS)
                self._wake.set()
            except Exception as exc:  # noqa: BLE001 - an exception must not end the loop
                self._faults.note(exc)

    async def settle_last(self) -> None:
        """Settle queued tasks before the process ends. Those that remain become overdue."""
        try:
            await self.settle_queued()
        except DatabaseUnavailable:
            log.info("The database does not answer, so %d ended tasks are settled after a restart", len(self._ended))

    async def settle_queued(self) -> None:
        """Settle all queued tasks. Raises DatabaseUnavailable; the remaining ones then stay queued."""
        while self._ended:
            team_id, task_id = next(iter(self._ended))
            is_paid = self._ended[team_id, task_id]
            await self._ledger.settle_task(team_id, task_id, is_paid=is_paid)
            self._ended.pop((team_id, task_id), None)


class OverdueReservations:
    """Reads the tasks of overdue reservations, so that `Settlement` receives those that have ended."""

    def __init__(
        self,
        ledger: Ledger,
        read: Read,
        caller_of: Callable[[str], Caller],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Take overdue reservations from `ledger`, and `read` their tasks as `caller_of(team_id)`."""
        self._ledger = ledger
        self._read = read
        self._caller_of = caller_of
        self._sleep = sleep
        self._faults = ThrottledExceptionLog(log, "Overdue reservations could not be read")

    async def run(self) -> None:
        """Read the tasks of overdue reservations every POLL_SECONDS. The coroutine runs until it is cancelled."""
        while True:
            await self._sleep(POLL_SECONDS)
            try:
                await self.read_overdue()
            except DatabaseUnavailable:
                pass  # the reservations stay overdue
            except Exception as exc:  # noqa: BLE001 - an exception must not end the loop
                self._faults.note(exc)

    async def read_overdue(self) -> None:
        """Read the tasks of overdue reservations that no other process has taken. Raises DatabaseUnavailable."""
        by_team: dict[str, list[str]] = defaultdict(list)
        for entry in await self._ledger.take_overdue(BATCH_SIZE):
            if entry.task_id is not None:
                by_team[entry.spender.team].append(entry.task_id)
        for team_id, task_ids in by_team.items():
            await self._read(self._caller_of(team_id), task_ids)
