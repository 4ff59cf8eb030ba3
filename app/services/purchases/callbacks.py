"""Being told by the backend that a task has ended: a hint that is worth one read, and never a result.

Callbacks are not signed, and their URL can be read in the task's record. So a callback's body proves nothing: its
ticket says which tenant and submission it is about, the first one about a task makes the service look, and only what
that read says is shown and cached.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.snapshot import TaskSnapshot
from app.ports.backend import VideoBackend
from app.ports.coordination import EventBus, EventKind
from app.ports.repositories import DatabaseUnavailable, Purchases
from app.ports.sealing import Sealer
from app.ports.store import StoreUnavailable
from app.services.polling.callback_trust import CallbackTrust
from app.services.polling.events import TaskEvent, pack
from app.services.tasks.cache import TaskCache
from app.services.tasks.snapshots import TaskSnapshots

PURPOSE = "callback"
KEPT_SECONDS = 24 * 3600.0
"""How long a ticket is good for: as long as an idempotency key whose outcome it may tell."""

log = logging.getLogger(__name__)


class CallbackOutcome(StrEnum):
    """What became of a callback."""

    TAKEN = "taken"
    """It is the first about its task: the task is looked at."""
    REPEATED = "repeated"
    """The task was called about before: nothing more is done."""
    EARLY = "early"
    """The submission is not answered yet, or not recorded: the id is kept, to be checked against the answer."""
    UNKNOWN_TICKET = "unknown_ticket"
    """Nobody was given this ticket."""
    OTHER_TASK = "other_task"
    """The ticket belongs to another task."""


class Callbacks:
    """Issues tickets and hears callbacks."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a callback may touch
        self,
        base_url: str,
        sealer: Sealer,
        events: EventBus,
        cache: TaskCache,
        snapshots: TaskSnapshots,
        purchases: Purchases,
        trust: CallbackTrust,
        wall_clock: Callable[[], float],
    ) -> None:
        """Be called under `base_url`, as the outside sees this service."""
        self._base_url = base_url
        self._sealer = sealer
        self._events = events
        self._cache = cache
        self._snapshots = snapshots
        self._purchases = purchases
        self.trust = trust
        self._wall_clock = wall_clock

    def url(self, tenant: str) -> str:
        """Return what the backend is to call about one submission of the tenant's."""
        ticket = {"tenant": tenant, "number": secrets.token_hex(12), "at": self._wall_clock()}
        return f"{self._base_url}/{self._sealer.seal(PURPOSE, ticket)}"

    def digest(self, url: str) -> str:
        """Return what stands for one of our own URLs in the store, where nobody is to find an address to call."""
        ticket = self._opened(url)
        if ticket is None:
            raise ValueError("this is no callback URL of this service")
        return self._digest(ticket)

    async def submitted(self, owner: str, callback_id: str, task_id: str) -> None:
        """Look for a callback that came before the task of its submission was recorded.

        Where only others were named, or nobody can tell, the true one may have been lost behind them. Then the task is
        read on schedule, as without callbacks.
        """
        try:
            named = await self._purchases.claims(callback_id)
        except DatabaseUnavailable:
            await self._expect_none(owner, task_id)
            return
        if task_id in named:
            await self._look_at(owner, task_id)
        elif named:
            await self._expect_none(owner, task_id)

    def is_ours(self, sealed: str) -> bool:
        """Return whether this service has made the ticket, and it still counts."""
        return self._ticket(sealed) is not None

    async def handle(self, sealed: str, task_id: str) -> CallbackOutcome:
        """Take in a callback that claims to be about `task_id`. Raises DatabaseUnavailable."""
        ticket = self._ticket(sealed)
        if ticket is None:
            return CallbackOutcome.UNKNOWN_TICKET
        callback_id = self._digest(ticket)
        purchase = await self._purchases.of_callback(callback_id)
        if purchase is None or purchase.task_id is None:
            await self._purchases.add_claim(callback_id, task_id)
            purchase = await self._purchases.of_callback(callback_id)  # the answer may have come in the meantime
        if purchase is None:
            await self._hint(ticket["tenant"], task_id)  # others may wait for it, if it was sent without a database
        if purchase is None or purchase.task_id is None:
            return CallbackOutcome.EARLY
        if purchase.task_id != task_id:
            return CallbackOutcome.OTHER_TASK
        if not await self._purchases.note_call(purchase.attempt):
            return CallbackOutcome.REPEATED
        await self._look_at(purchase.owner, task_id)
        return CallbackOutcome.TAKEN

    async def claimed(
        self, backend: VideoBackend, principal: Principal, callback_id: str, command: Command
    ) -> str | None:
        """Return the task that the submission of `command` became, if the backend called about it since.

        A call is a hint; it counts only if the backend itself says that it was given that very URL for that task, and
        nothing but `command`. Raises LumaError, and DatabaseUnavailable where nobody can tell.
        """

        def is_its_url(url: str) -> bool:
            ticket = self._opened(url)
            return ticket is not None and ticket["tenant"] in principal.owners and self._digest(ticket) == callback_id

        claims = await self._purchases.claims(callback_id)
        return await backend.find_by_callback(principal, command, claims, is_its_url)

    def _ticket(self, sealed: str) -> dict[str, Any] | None:
        ticket = self._sealer.unseal(PURPOSE, sealed)
        return ticket if ticket is not None and self._wall_clock() - ticket.get("at", 0.0) <= KEPT_SECONDS else None

    def _opened(self, url: str) -> dict[str, Any] | None:
        """Return the ticket in one of our own URLs, or None for any other."""
        return self._sealer.unseal(PURPOSE, url.removeprefix(f"{self._base_url}/"))

    def _digest(self, ticket: dict[str, Any]) -> str:
        """Return what stands for a ticket in the database. Its number is random: nobody can guess it from a hash."""
        return hashlib.sha256(f"ticket:{ticket['number']}".encode()).hexdigest()

    async def _look_at(self, tenant: str, task_id: str) -> None:
        """Make the next question about the task reach the backend, and wake those who wait for it."""
        await self._cache.forget_running(tenant, task_id)
        snapshot = await self._expect_none(tenant, task_id)
        if snapshot is not None and snapshot.task.is_final:
            return  # a callback that comes after the end was read brings nothing, and is none to rely on
        await self.trust.arrived()
        await self._hint(tenant, task_id)

    async def _hint(self, tenant: str, task_id: str) -> None:
        try:
            await self._events.publish(EventKind.TASKS, pack(TaskEvent(tenant, hinted=[task_id])))
        except StoreUnavailable:
            log.info("A callback could not be passed on: whoever waits reads on schedule")

    async def _expect_none(self, tenant: str, task_id: str) -> TaskSnapshot | None:
        """Let the task be read on schedule, and return what is known of it."""
        snapshot = (await self._snapshots.get_many(tenant, [task_id])).get(task_id)
        if snapshot is not None:
            await self._snapshots.put_many(tenant, [replace(snapshot, expects_callback=False)])
        return snapshot
