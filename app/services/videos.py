"""Starting generations: the calls that cost money."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.record import submitted
from app.ports import LumaGateway
from app.services.records import TaskRecords
from app.services.reservations import Bought, Claim, Reservations
from app.services.submission_slots import SubmissionSlots


@dataclass(frozen=True, slots=True)
class Order:
    """What to buy, and the claim under which it may be bought once; without one, every order buys."""

    command: Command
    claim: Claim | None = None


class VideoService:
    """Submits a command once and remembers the task that it became.

    A submission belongs to nobody: it goes on when its caller leaves, so that its outcome is always written down.
    """

    def __init__(
        self,
        gateway: LumaGateway,
        records: TaskRecords,
        reservations: Reservations,
        slots: SubmissionSlots,
        wall_clock: Callable[[], float],
    ) -> None:
        """Submit through `gateway`; `wall_clock` gives unix seconds."""
        self._gateway = gateway
        self._records = records
        self._reservations = reservations
        self._slots = slots
        self._wall_clock = wall_clock
        self._under_way: set[asyncio.Task[Bought]] = set()

    async def start(self, principal: Principal, order: Order) -> Bought:
        """Return the task, bought now or by an earlier call with the same claim.

        Raises LumaError where nothing was started, or where nobody can tell.
        """
        return await self._outliving_the_caller(self._start(principal, order))

    async def aclose(self) -> None:
        """Let what is under way come to its end, which the backend client bounds."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _start(self, principal: Principal, order: Order) -> Bought:
        async def send() -> str:
            return await self._submit(principal, order.command)

        if order.claim is None:
            return Bought(await send(), replayed=False)
        return await self._reservations.buy(order.claim, send)

    async def _submit(self, principal: Principal, command: Command) -> str:
        task_id = await self._slots.through(principal.tenant, lambda: self._gateway.submit(principal, command))
        await self._records.put_many(principal.tenant, [submitted(task_id, self._wall_clock())])
        return task_id

    async def _outliving_the_caller(self, submission: Coroutine[Any, Any, Bought]) -> Bought:
        task = asyncio.get_running_loop().create_task(submission)
        self._under_way.add(task)
        task.add_done_callback(self._landed)
        return await asyncio.shield(task)

    def _landed(self, task: asyncio.Task[Bought]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: the caller may have left
