"""Handles callbacks of the backend. A callback triggers one read of its task; it is never a result.

Callbacks are not signed, and the backend's record of a task shows the URL. The body of a callback therefore proves
nothing. The ticket in the URL names the tenant and the submission. The first callback for a task triggers a read, and
only the answer to that read is shown and cached.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from app.domain.generation import Command
from app.domain.snapshot import TaskSnapshot
from app.ports.auth import Caller
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
"""Lifetime of a ticket: that of an idempotency key, whose outcome a callback may settle."""

log = logging.getLogger(__name__)


class CallbackOutcome(StrEnum):
    """The outcome of a callback."""

    TAKEN = "taken"
    """The first callback for its task: the task is read."""
    REPEATED = "repeated"
    """A later callback for the same task: ignored."""
    EARLY = "early"
    """The submission has no recorded task yet: the id is stored, and compared with the answer."""
    UNKNOWN_TICKET = "unknown_ticket"
    """The ticket is expired, or not of this service."""
    OTHER_TASK = "other_task"
    """The submission of this ticket became another task."""


class Callbacks:
    """Issues callback URLs, each with a sealed ticket, and handles callbacks."""

    def __init__(  # noqa: PLR0913, PLR0917 - a callback uses every kind of state
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
        """Issue URLs under `base_url`, the public address of this service."""
        self._base_url = base_url
        self._sealer = sealer
        self._events = events
        self._cache = cache
        self._snapshots = snapshots
        self._purchases = purchases
        self.trust = trust
        self._wall_clock = wall_clock

    def url(self, tenant: str) -> str:
        """Return the callback URL for one submission of the tenant."""
        ticket = {"tenant": tenant, "number": secrets.token_hex(12), "at": self._wall_clock()}
        return f"{self._base_url}/{self._sealer.seal(PURPOSE, ticket)}"

    def digest(self, url: str) -> str:
        """Return the id of a callback URL for the database. The URL is not stored, because anyone could call it."""
        ticket = self._opened(url)
        if ticket is None:
            raise ValueError("this is no callback URL of this service")
        return self._digest(ticket)

    async def submitted(self, owner: str, callback_id: str, task_id: str) -> None:
        """Process a callback that arrived before the task of its submission was recorded.

        If the stored callbacks name other tasks only, or the database is down, the right one may be lost. The task is
        then polled on schedule, as without callbacks.
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
        """Return whether the ticket is of this service and not expired."""
        return self._ticket(sealed) is not None

    async def handle(self, sealed: str, task_id: str) -> CallbackOutcome:
        """Process a callback that names `task_id`. Raises DatabaseUnavailable."""
        ticket = self._ticket(sealed)
        if ticket is None:
            return CallbackOutcome.UNKNOWN_TICKET
        callback_id = self._digest(ticket)
        purchase = await self._purchases.of_callback(callback_id)
        if purchase is None or purchase.task_id is None:
            await self._purchases.add_claim(callback_id, task_id)
            purchase = await self._purchases.of_callback(callback_id)  # the answer may have arrived in the meantime
        if purchase is None:
            await self._hint(ticket["tenant"], task_id)  # it may have been submitted while the database was down
        if purchase is None or purchase.task_id is None:
            return CallbackOutcome.EARLY
        if purchase.task_id != task_id:
            return CallbackOutcome.OTHER_TASK
        if not await self._purchases.note_call(purchase.attempt):
            return CallbackOutcome.REPEATED
        await self._look_at(purchase.owner, task_id)
        return CallbackOutcome.TAKEN

    async def claimed(self, backend: VideoBackend, caller: Caller, callback_id: str, command: Command) -> str | None:
        """Return the task that the submission of `command` became, if a callback named it.

        The backend must confirm that it was given this very URL and `command` for that task. Raises LumaError, and
        DatabaseUnavailable if the callbacks cannot be read.
        """

        def is_its_url(url: str) -> bool:
            ticket = self._opened(url)
            return ticket is not None and ticket["tenant"] in owners and self._digest(ticket) == callback_id

        owners, claims = caller.principal.owners, await self._purchases.claims(callback_id)
        return await backend.find_by_callback(await caller.credentials.one(), command, claims, is_its_url)

    def _ticket(self, sealed: str) -> dict[str, Any] | None:
        ticket = self._sealer.unseal(PURPOSE, sealed)
        return ticket if ticket is not None and self._wall_clock() - ticket.get("at", 0.0) <= KEPT_SECONDS else None

    def _opened(self, url: str) -> dict[str, Any] | None:
        """Return the ticket in a callback URL of this service; None for any other URL."""
        return self._sealer.unseal(PURPOSE, url.removeprefix(f"{self._base_url}/"))

    def _digest(self, ticket: dict[str, Any]) -> str:
        """Return the id of a ticket for the database. Its number is random, so the hash cannot be guessed."""
        return hashlib.sha256(f"ticket:{ticket['number']}".encode()).hexdigest()

    async def _look_at(self, tenant: str, task_id: str) -> None:
        """Drop the task from the cache if it is running, and wake the calls that wait for it."""
        await self._cache.forget_running(tenant, task_id)
        snapshot = await self._expect_none(tenant, task_id)
        if snapshot is not None and snapshot.task.is_final:
            return  # a callback after the end was read saves nothing, so it restores no trust
        await self.trust.arrived()
        await self._hint(tenant, task_id)

    async def _hint(self, tenant: str, task_id: str) -> None:
        try:
            await self._events.publish(EventKind.TASKS, pack(TaskEvent(tenant, hinted=[task_id])))
        except StoreUnavailable:
            log.info("A callback could not be passed on: whoever waits reads on schedule")

    async def _expect_none(self, tenant: str, task_id: str) -> TaskSnapshot | None:
        """Poll the task on schedule from now on, and return its snapshot."""
        snapshot = (await self._snapshots.get_many(tenant, [task_id])).get(task_id)
        if snapshot is not None:
            await self._snapshots.put_many(tenant, [replace(snapshot, expects_callback=False)])
        return snapshot
