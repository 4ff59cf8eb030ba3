"""A repository of purchases with fault injection: failures before or after an operation, outages and crashes."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from app.domain.purchase import NewPurchase, Purchase, PurchaseState
from app.ports.repositories import DatabaseUnavailable, Purchases

T = TypeVar("T")


class Crashed(asyncio.CancelledError):
    """A simulated crash of the process. As a subclass of CancelledError it ends background tasks without a log line."""


class FaultyPurchases(Purchases):
    """A proxy in front of a real repository that injects faults.

    `faults` is a queue with one entry for each operation: "before" raises DatabaseUnavailable without running it,
    "after" runs it and then raises, "crash before" and "crash after" raise Crashed, None runs it as usual. After a
    crash every operation raises Crashed (`is_dead`). While `is_out` is set every operation raises
    DatabaseUnavailable. `asked` counts the operations, and `running` those that the real repository has not answered.
    """

    def __init__(self, true: Purchases) -> None:
        self._true = true
        self.faults: list[str | None] = []
        self.is_out = False
        self.asked = 0
        self.running = 0
        self.is_dead = False

    async def claim(self, new: NewPurchase) -> Purchase | None:
        return await self._pass(lambda: self._true.claim(new))

    async def take_over(self, earlier: Purchase, new: NewPurchase) -> bool:
        return await self._pass(lambda: self._true.take_over(earlier, new))

    async def record_outcome(self, attempt: str, state: PurchaseState, task_id: str | None = None) -> bool:
        return await self._pass(lambda: self._true.record_outcome(attempt, state, task_id))

    async def record(self, new: NewPurchase, state: PurchaseState, task_id: str | None) -> None:
        await self._pass(lambda: self._true.record(new, state, task_id))

    async def delete_unbought(self, attempt: str) -> None:
        await self._pass(lambda: self._true.delete_unbought(attempt))

    async def of_callback(self, callback_id: str) -> Purchase | None:
        return await self._pass(lambda: self._true.of_callback(callback_id))

    async def record_callback(self, attempt: str) -> bool:
        return await self._pass(lambda: self._true.record_callback(attempt))

    async def add_callback_task(self, callback_id: str, task_id: str) -> None:
        await self._pass(lambda: self._true.add_callback_task(callback_id, task_id))

    async def callback_tasks(self, callback_id: str) -> list[str]:
        return await self._pass(lambda: self._true.callback_tasks(callback_id))

    async def count_started(self, owners: Sequence[str], since: float) -> int:
        return await self._pass(lambda: self._true.count_started(owners, since))

    async def newest(self, owners: Sequence[str], limit: int, **wanted: Any) -> list[Purchase]:
        return await self._pass(lambda: self._true.newest(owners, limit, **wanted))

    async def bought(self, owner: str, task_ids: Collection[str], *, member: str | None = None) -> set[str]:
        return await self._pass(lambda: self._true.bought(owner, task_ids, member=member))

    async def task_ids(self, owners: Sequence[str], prefix: str, limit: int, *, member: str | None = None) -> list[str]:
        return await self._pass(lambda: self._true.task_ids(owners, prefix, limit, member=member))

    async def delete_old(self, *, refused_seconds: float, seconds: float) -> int:
        return await self._pass(lambda: self._true.delete_old(refused_seconds=refused_seconds, seconds=seconds))

    async def _pass(self, operation: Callable[[], Awaitable[T]]) -> T:
        self.asked += 1
        fault = self.faults.pop(0) if self.faults else None
        if self.is_dead or fault == "crash before":
            self.is_dead = True
            raise Crashed
        if self.is_out or fault == "before":
            raise DatabaseUnavailable("out")
        self.running += 1
        try:
            result = await operation()
        finally:
            self.running -= 1
        if fault == "crash after":
            self.is_dead = True
            raise Crashed
        if fault == "after":
            raise DatabaseUnavailable("out")
        return result
