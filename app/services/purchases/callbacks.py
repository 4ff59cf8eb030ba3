"""Handles callbacks of the backend. The first callback for a task triggers a read of it; no result is taken from it.

Callbacks are not signed, and the backend's record of a task contains the callback URL, so the body of a callback proves
nothing. Only the result of the read is shown and cached. Each callback URL contains a ticket: an encrypted text with
the tenant, a random number for the submission, and the time of issue.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from cachetools import LRUCache

from app.domain.access import Principal
from app.domain.generation import Command
from app.domain.purchase import Purchase
from app.domain.snapshot import TaskSnapshot
from app.ports.auth import Caller
from app.ports.backend import VideoBackend
from app.ports.coordination import EventBus, EventKind
from app.ports.repositories import DatabaseUnavailable, Purchases
from app.ports.sealing import Sealer
from app.ports.store import StoreUnavailable
from app.services.limits.database_turns import DatabaseLimits
from app.services.polling.callback_trust import CallbackTrust
from app.services.polling.events import TaskEvent, pack
from app.services.tasks.cache import TaskCache
from app.services.tasks.snapshots import TaskSnapshots

PURPOSE = "callback"
MAX_CACHED = 4_000
"""Size of the cache of tickets whose task is known, about 0.4 KB each. Repeated callbacks with them cost no query."""

log = logging.getLogger(__name__)


class CallbackOutcome(StrEnum):
    """The outcome of a callback, for its log line and its metric."""

    TAKEN = "taken"
    """The first callback for its task: the task is read."""
    REPEATED = "repeated"
    """A later callback for the same task: ignored."""
    EARLY = "early"
    """The submission has no recorded task yet: the task id is stored and checked later."""
    UNKNOWN_TICKET = "unknown_ticket"
    """The ticket has expired or was not issued by this service: ignored."""
    OTHER_TASK = "other_task"
    """The submission of this ticket started another task: ignored."""


@dataclass(frozen=True, slots=True)
class _KnownTicket:
    """The task of a ticket's submission, and whether a callback that names it is recorded."""

    task_id: str
    is_recorded: bool


class Callbacks:
    """Issues callback URLs and handles callbacks to them."""

    def __init__(  # noqa: PLR0913, PLR0917 - a callback uses every kind of state
        self,
        base_url: str,
        sealer: Sealer,
        events: EventBus,
        cache: TaskCache,
        snapshots: TaskSnapshots,
        purchases: Purchases,
        turns: DatabaseLimits,
        trust: CallbackTrust,
        wall_clock: Callable[[], float],
        ticket_seconds: float,
    ) -> None:
        """Issue URLs under `base_url`, which has no slash at its end. `wall_clock` returns unix seconds.

        `turns` limits concurrent operations on `purchases`: those of callbacks, and those for calls. `ticket_seconds`
        is the lifetime of a ticket, and of idempotency keys: until its end, a callback may settle a purchase whose
        outcome is unknown.
        """
        self._base_url = base_url
        self._sealer = sealer
        self._events = events
        self._cache = cache
        self._snapshots = snapshots
        self._purchases = purchases
        self._turns = turns
        self._known: LRUCache[str, _KnownTicket] = LRUCache(MAX_CACHED)
        self.trust = trust
        self._wall_clock = wall_clock
        self._ticket_seconds = ticket_seconds

    def url(self, tenant: str) -> str:
        """Return a new callback URL for one submission of the tenant."""
        ticket = {"tenant": tenant, "number": secrets.token_hex(12), "at": self._wall_clock()}
        return f"{self._base_url}/{self._sealer.seal(PURPOSE, ticket)}"

    def callback_id_of(self, url: str) -> str:
        """Return the callback id that the database holds for a URL made by `url`.

        The URL itself is not stored, because anyone who reads it could call it. Raises ValueError for any other URL.
        """
        ticket = self._ticket_in(url)
        if ticket is None:
            raise ValueError("this is not a callback URL of this service")
        return self._callback_id(ticket)

    async def process_early(self, principal: Principal, callback_id: str, task_id: str) -> None:
        """Process callbacks that arrived before `task_id` was recorded as the task of the submission.

        If only other task ids are stored, or the database is down, the genuine callback may be lost. The task
        is then polled on schedule, as without callbacks.
        """
        owner = principal.owner
        try:
            reported = await self._callback_tasks(principal, callback_id)
        except DatabaseUnavailable:
            await self._stop_expecting(owner, task_id)
            return
        if task_id in reported:
            await self._trigger_read(owner, task_id)
        elif reported:
            await self._stop_expecting(owner, task_id)

    def is_valid_ticket(self, sealed: str) -> bool:
        """Return whether `sealed` is a ticket of this service that has not expired."""
        return self._valid_ticket(sealed) is not None

    async def handle(self, sealed: str, task_id: str) -> CallbackOutcome:
        """Process a callback with the ticket `sealed` whose body names `task_id`. Raises DatabaseUnavailable."""
        ticket = self._valid_ticket(sealed)
        if ticket is None:
            return CallbackOutcome.UNKNOWN_TICKET
        callback_id = self._callback_id(ticket)
        if (known := self._known.get(callback_id)) is not None and (known.is_recorded or known.task_id != task_id):
            return CallbackOutcome.REPEATED if known.task_id == task_id else CallbackOutcome.OTHER_TASK
        operation = partial(self._record, callback_id, task_id)
        purchase, is_first = await self._turns.callbacks.run(ticket["tenant"], operation)
        if purchase is None:  # the database may have failed when the purchase was sent
            await self._publish_hint(ticket["tenant"], task_id)
        if purchase is None or purchase.task_id is None:
            return CallbackOutcome.EARLY
        self._known[callback_id] = _KnownTicket(purchase.task_id, is_recorded=purchase.task_id == task_id)
        if purchase.task_id != task_id:
            return CallbackOutcome.OTHER_TASK
        if not is_first:
            return CallbackOutcome.REPEATED
        await self._trigger_read(purchase.owner, task_id)
        return CallbackOutcome.TAKEN

    async def _record(self, callback_id: str, task_id: str) -> tuple[Purchase | None, bool]:
        """Record a callback. Return its purchase, and whether this is the first callback about the purchase's task."""
        purchase = await self._purchases.of_callback(callback_id)
        if purchase is None or purchase.task_id is None:
            await self._purchases.add_callback_task(callback_id, task_id)
            purchase = await self._purchases.of_callback(callback_id)  # the outcome may have been recorded meanwhile
        if purchase is None or purchase.task_id != task_id:
            return purchase, False
        return purchase, await self._purchases.record_callback(purchase.attempt)

    async def find_task(self, backend: VideoBackend, caller: Caller, callback_id: str, command: Command) -> str | None:
        """Return the id of the task that a submission of `command` started; None if it cannot be determined.

        The backend must confirm that the task was submitted with this callback URL and `command`. Raises LumaError if
        it cannot be asked, and DatabaseUnavailable if the stored task ids cannot be read.
        """

        def is_purchase_callback(url: str) -> bool:
            ticket = self._ticket_in(url)
            return ticket is not None and ticket["tenant"] in owners and self._callback_id(ticket) == callback_id

        owners, task_ids = caller.principal.owners, await self._callback_tasks(caller.principal, callback_id)
        return await backend.find_by_callback(await caller.credentials.one(), command, task_ids, is_purchase_callback)

    async def _callback_tasks(self, principal: Principal, callback_id: str) -> list[str]:
        """Return the task ids that callbacks of this submission have named, oldest first."""
        return await self._turns.purchases.run(principal.subject, partial(self._purchases.callback_tasks, callback_id))

    def _valid_ticket(self, sealed: str) -> dict[str, Any] | None:
        ticket = self._sealer.unseal(PURPOSE, sealed)
        if ticket is None or self._wall_clock() - ticket.get("at", 0.0) > self._ticket_seconds:
            return None
        return ticket

    def _ticket_in(self, url: str) -> dict[str, Any] | None:
        """Return the ticket in a callback URL of this service, also an expired one; None for any other URL."""
        return self._sealer.unseal(PURPOSE, url.removeprefix(f"{self._base_url}/"))

    def _callback_id(self, ticket: dict[str, Any]) -> str:
        """Return the callback id of a ticket. It cannot be guessed, because the ticket's number is random."""
        return hashlib.sha256(f"ticket:{ticket['number']}".encode()).hexdigest()

    async def _trigger_read(self, tenant: str, task_id: str) -> None:
        """Drop the task from the cache if it is running, and make the poller read it early."""
        await self._cache.invalidate_running(tenant, task_id)
        snapshot = await self._stop_expecting(tenant, task_id)
        if snapshot is not None and snapshot.task.is_final:
            return  # the callback came too late to be of use, so it does not restore trust in callbacks
        await self.trust.record_callback()
        await self._publish_hint(tenant, task_id)

    async def _publish_hint(self, tenant: str, task_id: str) -> None:
        try:
            await self._events.publish(EventKind.TASKS, pack(TaskEvent(tenant, hinted=[task_id])))
        except StoreUnavailable:
            log.info("Redis does not answer, so a callback was not published. Waiting calls read the task on schedule")

    async def _stop_expecting(self, tenant: str, task_id: str) -> TaskSnapshot | None:
        """Store that the task expects no callback, so that it is polled on schedule. Return its former snapshot."""
        snapshot = (await self._snapshots.get_many(tenant, [task_id])).get(task_id)
        if snapshot is not None:
            await self._snapshots.put_many(tenant, [replace(snapshot, expects_callback=False)])
        return snapshot
