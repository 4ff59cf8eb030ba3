"""Handles callbacks of the backend. The first callback for a task triggers a read of the task at the backend.

Callbacks are not signed. The backend's record of a task contains the callback URL, so anyone who can read the record
can send a callback. The body of a callback therefore proves nothing, and only the result of the read is shown and
cached. Each callback URL contains a ticket: an encrypted text, whose payload is the tenant, a nonce for the submission,
and the time of issue.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import NamedTuple

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
"""Size of the cache of submissions whose task is known, about 0.4 KB each. A repeated callback then costs no query."""

log = logging.getLogger(__name__)


class CallbackOutcome(StrEnum):
    """The outcome of a callback, for its log line and its metric."""

    TAKEN = "taken"
    """The first callback for its task: the task is read, unless it is already known to be final."""
    REPEATED = "repeated"
    """A later callback for the same task: ignored."""
    EARLY = "early"
    """The submission has no recorded task yet: the task id is stored and checked later."""
    UNKNOWN_TICKET = "unknown_ticket"
    """The ticket has expired or was not issued by this service: ignored."""
    OTHER_TASK = "other_task"
    """The submission of this ticket started another task: ignored."""


class _Payload(NamedTuple):
    """The content of a ticket.

    Attributes:
        nonce: random hexadecimal digits, which distinguish submissions and cannot be guessed.
        issued_at: in unix seconds.

    """

    tenant: str
    nonce: str
    issued_at: float


@dataclass(frozen=True, slots=True)
class _KnownSubmission:
    """A submission whose task is known.

    Attributes:
        task_id: the task that the submission started.
        has_callback: whether a callback for that task was recorded in the database.

    """

    task_id: str
    has_callback: bool


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
        database_limits: DatabaseLimits,
        trust: CallbackTrust,
        wall_clock: Callable[[], float],
        ticket_seconds: float,
    ) -> None:
        """Issue URLs under `base_url`, which has no slash at its end. `wall_clock` returns unix seconds.

        `database_limits` limits concurrent operations on `purchases`: its limiter `callbacks` is for received
        callbacks, and its limiter `purchases` is for tool calls. `ticket_seconds` is the lifetime of tickets. It equals
        the lifetime of idempotency keys: while a key is valid, a callback can reveal the task of an unknown outcome.
        """
        self._base_url = base_url
        self._sealer = sealer
        self._events = events
        self._cache = cache
        self._snapshots = snapshots
        self._purchases = purchases
        self._database_limits = database_limits
        self._known: LRUCache[str, _KnownSubmission] = LRUCache(MAX_CACHED)
        self.trust = trust
        self._wall_clock = wall_clock
        self._ticket_seconds = ticket_seconds

    def new_callback_url(self, tenant: str) -> str:
        """Return a new callback URL for one submission of the tenant."""
        payload = {"tenant": tenant, "number": secrets.token_hex(12), "at": self._wall_clock()}
        return f"{self._base_url}/{self._sealer.seal(PURPOSE, payload)}"

    def callback_id_of(self, url: str) -> str:
        """Return the callback id of a callback URL of this service, a hash of the nonce in its ticket.

        The database stores the id in place of the URL, because anyone who reads the URL could send a callback to it.
        Raises ValueError for any other URL.
        """
        payload = self._payload_of_url(url)
        if payload is None:
            raise ValueError("this is not a callback URL of this service")
        return _callback_id(payload)

    async def process_early(self, principal: Principal, callback_id: str, task_id: str) -> None:
        """Process callbacks that arrived before `task_id` was recorded as the task of the submission.

        The task is read at once if one of those callbacks named it. If they named only other tasks, or the database
        does not answer, a genuine callback may have been lost. The task is then polled on schedule, as without
        callbacks.
        """
        owner = principal.owner
        try:
            reported_ids = await self._callback_tasks(principal, callback_id)
        except DatabaseUnavailable:
            await self._clear_callback_expectation(owner, task_id)
            return
        if task_id in reported_ids:
            await self._trigger_read(owner, task_id)
        elif reported_ids:
            await self._clear_callback_expectation(owner, task_id)

    def is_valid_ticket(self, ticket: str) -> bool:
        """Return whether this service has issued `ticket` and it has not expired."""
        return self._valid_payload(ticket) is not None

    async def handle(self, ticket: str, task_id: str) -> CallbackOutcome:
        """Process a callback whose URL has this ticket, and whose body names `task_id`.

        Raises DatabaseUnavailable if the callback cannot be recorded.
        """
        payload = self._valid_payload(ticket)
        if payload is None:
            return CallbackOutcome.UNKNOWN_TICKET
        callback_id = _callback_id(payload)
        if (known := self._known.get(callback_id)) is not None and (known.has_callback or known.task_id != task_id):
            return CallbackOutcome.REPEATED if known.task_id == task_id else CallbackOutcome.OTHER_TASK
        operation = partial(self._record, callback_id, task_id)
        purchase, is_first = await self._database_limits.callbacks.run(payload.tenant, operation)
        if purchase is None:  # the purchase may have been sent without a record, while the database did not answer
            await self._publish_reported_finished(payload.tenant, task_id)
        if purchase is None or purchase.task_id is None:
            return CallbackOutcome.EARLY
        self._known[callback_id] = _KnownSubmission(purchase.task_id, has_callback=purchase.task_id == task_id)
        if purchase.task_id != task_id:
            return CallbackOutcome.OTHER_TASK
        if not is_first:
            return CallbackOutcome.REPEATED
        await self._trigger_read(purchase.owner, task_id)
        return CallbackOutcome.TAKEN

    async def _record(self, callback_id: str, task_id: str) -> tuple[Purchase | None, bool]:
        """Record a callback. Return its purchase, and whether this is the first callback about the purchase's task.

        The purchase is None if the callback id is unknown. As long as the purchase has no task, only the task id is
        stored.
        """
        purchase = await self._purchases.of_callback(callback_id)
        if purchase is None or purchase.task_id is None:
            await self._purchases.add_callback_task(callback_id, task_id)
            purchase = await self._purchases.of_callback(callback_id)  # the outcome may have been recorded meanwhile
        if purchase is None or purchase.task_id != task_id:
            return purchase, False
        return purchase, await self._purchases.record_callback(purchase.attempt)

    async def find_task(self, backend: VideoBackend, caller: Caller, callback_id: str, command: Command) -> str | None:
        """Return the id of the task that a submission of `command` started; None if it cannot be determined.

        The backend must confirm that the task was submitted with `command` and with the callback URL of `callback_id`.
        Raises LumaError if the backend cannot be asked, and DatabaseUnavailable if the stored task ids cannot be read.
        """
        owners = caller.principal.owners

        def is_purchase_callback(url: str) -> bool:
            payload = self._payload_of_url(url)
            return payload is not None and payload.tenant in owners and _callback_id(payload) == callback_id

        task_ids = await self._callback_tasks(caller.principal, callback_id)
        return await backend.find_by_callback(await caller.credentials.one(), command, task_ids, is_purchase_callback)

    async def _callback_tasks(self, principal: Principal, callback_id: str) -> list[str]:
        """Return the task ids that callbacks of this submission have named, oldest first."""
        return await self._database_limits.purchases.run(
            principal.subject, partial(self._purchases.callback_tasks, callback_id)
        )

    def _valid_payload(self, ticket: str) -> _Payload | None:
        """Return the payload of a ticket; None if it has expired or was not issued by this service."""
        payload = self._payload_of_ticket(ticket)
        if payload is None or self._wall_clock() - payload.issued_at > self._ticket_seconds:
            return None
        return payload

    def _payload_of_url(self, url: str) -> _Payload | None:
        """Return the payload of the ticket in a callback URL, also of an expired one; None for any other URL."""
        return self._payload_of_ticket(url.removeprefix(f"{self._base_url}/"))

    def _payload_of_ticket(self, ticket: str) -> _Payload | None:
        """Return the payload of a ticket, also of an expired one; None if this service has not issued it."""
        content = self._sealer.unseal(PURPOSE, ticket)
        return None if content is None else _Payload(content["tenant"], content["number"], content.get("at", 0.0))

    async def _trigger_read(self, tenant: str, task_id: str) -> None:
        """Drop the task from the cache if it is running, and store that no callback is expected for it.

        Unless the task is known to be final, also restore trust in callbacks, and publish an event, upon which pollers
        of all replicas read the task early.
        """
        await self._cache.invalidate_running(tenant, task_id)
        snapshot = await self._clear_callback_expectation(tenant, task_id)
        if snapshot is not None and snapshot.task.is_final:
            return  # the callback came too late to be of use, so it does not restore trust in callbacks
        await self.trust.record_callback()
        await self._publish_reported_finished(tenant, task_id)

    async def _publish_reported_finished(self, tenant: str, task_id: str) -> None:
        try:
            await self._events.publish(EventKind.TASKS, pack(TaskEvent(tenant, reported_finished=[task_id])))
        except StoreUnavailable:
            log.info("Redis does not answer, so a callback was not published. Waiting calls read the task on schedule")

    async def _clear_callback_expectation(self, tenant: str, task_id: str) -> TaskSnapshot | None:
        """Store that the task expects no callback, so that it is polled on schedule.

        Return its former snapshot. If it has no snapshot, store nothing and return None.
        """
        snapshot = (await self._snapshots.get_many(tenant, [task_id])).get(task_id)
        if snapshot is not None:
            await self._snapshots.put_many(tenant, [replace(snapshot, expects_callback=False)])
        return snapshot


def _callback_id(payload: _Payload) -> str:
    """Return the callback id of a ticket with this payload. It cannot be guessed, because the nonce is random."""
    return hashlib.sha256(f"ticket:{payload.nonce}".encode()).hexdigest()
