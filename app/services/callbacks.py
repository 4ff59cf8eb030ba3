"""Being told by the backend that a task has ended: a hint that is worth one read, and never a result.

Callbacks are not signed, and their URL can be read in the task's record. So a callback's body proves nothing: its
ticket says which tenant and submission it is about, the first one about a task makes the service look, and only what
that read says is shown and cached.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from app.domain.errors import LumaError
from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.record import Record
from app.ports import Coordination, LumaGateway, Sealing, Signing, StoreUnavailable
from app.services.callback_trust import CallbackTrust
from app.services.key_space import KeySpace
from app.services.news import News, pack
from app.services.records import TaskRecords
from app.services.task_cache import TaskCache

PURPOSE = "callback"
KEPT_SECONDS = 24 * 3600.0
"""How long a ticket is good for, and so what is kept about it: as long as a reservation that may wait for it."""

MOST_CLAIMS = 8
"""Tasks that callbacks may name before the submission is answered; a further one takes the place of the last."""

MOST_CHANGES = 5

log = logging.getLogger(__name__)


class Heard(StrEnum):
    """What became of a callback."""

    TAKEN = "taken"
    """It is the first about its task: the task is looked at."""
    REPEATED = "repeated"
    """The task was called about before: nothing more is done."""
    EARLY = "early"
    """The submission is not answered yet, or its ticket is lost: the id is kept, to be checked against the answer."""
    UNKNOWN_TICKET = "unknown_ticket"
    """Nobody was given this ticket."""
    OTHER_TASK = "other_task"
    """The ticket belongs to another task."""


class Callbacks:
    """Issues tickets and hears callbacks."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a callback may touch
        self,
        base_url: str,
        seal: Sealing,
        coordination: Coordination,
        cache: TaskCache,
        records: TaskRecords,
        keys: KeySpace,
        signing: Signing,
        trust: CallbackTrust,
        wall_clock: Callable[[], float],
    ) -> None:
        """Be called under `base_url`, as the outside sees this service."""
        self._base_url = base_url
        self._seal = seal
        self._coordination = coordination
        self._cache = cache
        self._records = records
        self._keys = keys
        self._signing = signing
        self.trust = trust
        self._wall_clock = wall_clock

    def url(self, tenant: str) -> str:
        """Return what the backend is to call about one submission of the tenant's."""
        ticket = {"tenant": tenant, "number": secrets.token_hex(12), "at": self._wall_clock()}
        return f"{self._base_url}/{self._seal.close(PURPOSE, ticket)}"

    def digest(self, url: str) -> str:
        """Return what stands for one of our own URLs in the store, where nobody is to find an address to call."""
        ticket = self._opened(url)
        if ticket is None:
            raise ValueError("this is no callback URL of this service")
        return self._digest(ticket)

    async def submitted(self, url: str, task_id: str) -> None:
        """Note which task the submission with `url` became; a callback that came early counts from now.

        Where the one that came early named another task, or cannot be seen, the true one may have been lost behind it.
        Then the task is read on schedule, as without callbacks.
        """
        ticket = self._opened(url)
        if ticket is None:
            return
        tenant, key = ticket["tenant"], self._ticket_key(ticket["tenant"], self._digest(ticket))
        became = self._signing.sign(key, _task(task_id))
        try:
            there = await self._coordination.put_if_absent(key, became, KEPT_SECONDS)
            if there is not None:
                await self._coordination.replace(key, there, became, KEPT_SECONDS)
        except StoreUnavailable:
            await self._expect_none(tenant, task_id)
            return
        if there is None:
            return
        if task_id in _claims(self._signing.verified(key, there)):
            await self._look_at(tenant, task_id)
        else:
            await self._expect_none(tenant, task_id)

    def is_ours(self, sealed: str) -> bool:
        """Return whether this service has made the ticket, and it still counts."""
        return self._ticket(sealed) is not None

    async def hear(self, sealed: str, task_id: str) -> Heard:
        """Take in a callback that claims to be about `task_id`. Raises StoreUnavailable where it cannot be judged."""
        ticket = self._ticket(sealed)
        if ticket is None:
            return Heard.UNKNOWN_TICKET
        tenant, key = ticket["tenant"], self._ticket_key(ticket["tenant"], self._digest(ticket))
        known = await self._claim(key, task_id)
        if known not in (_task(task_id), b""):
            return Heard.OTHER_TASK
        is_early = not known
        if is_early and (await self._records.get_many(tenant, [task_id])).get(task_id) is None:
            await self._hint(tenant, task_id)  # others may wait for it already, if the ticket and the record were lost
            return Heard.EARLY
        called = self._keys.key(tenant, "called", task_id)
        if await self._coordination.put_if_absent(called, b"1", KEPT_SECONDS) is not None:
            return Heard.REPEATED
        await self._look_at(tenant, task_id)
        return Heard.EARLY if is_early else Heard.TAKEN

    async def _claim(self, key: str, task_id: str) -> bytes:
        """Note the claim under `key`, and return b""; or return the answer to the submission, if that is known.

        It is b"" as well where somebody else has written there. Raises StoreUnavailable.
        """
        there = await self._coordination.put_if_absent(key, self._signing.sign(key, _claim([task_id])), KEPT_SECONDS)
        for _ in range(MOST_CHANGES):
            if there is None:
                return b""
            known = self._signing.verified(key, there) or b""
            claims = _claims(known)
            if not claims:
                return known
            if task_id in claims:
                return b""
            # A ticket may have leaked, so the first claim is not the true one for certain; nor is the last.
            mine = self._signing.sign(key, _claim([*claims[: MOST_CLAIMS - 1], task_id]))
            if await self._coordination.replace(key, there, mine, KEPT_SECONDS):
                return b""
            there = await self._coordination.get(key)
        return b""

    async def claimed(self, gateway: LumaGateway, principal: Principal, digest: str, command: Command) -> str | None:
        """Return the task that the submission of `command` became, if the backend called about it since.

        `digest` is that of its URL. The call is a hint; it counts only if the backend itself echoes that very URL for
        that task, and nothing but `command`. Raises LumaError, and StoreUnavailable where nobody can tell.
        """
        key = self._ticket_key(principal.tenant, digest)
        there = await self._coordination.get(key)
        said = self._signing.verified(key, there) if there is not None else None
        fault: LumaError | None = None
        for task_id in _claims(said) or _answers(said):
            try:
                url = await gateway.callback_url_of(principal, task_id, command)
            except LumaError as exc:  # a false claim must not hide the true one
                fault = exc
                continue
            echoed = self._opened(url or "")
            if echoed is not None and echoed["tenant"] == principal.tenant and self._digest(echoed) == digest:
                return task_id
        if fault is not None:
            raise fault
        return None

    def _ticket(self, sealed: str) -> dict[str, Any] | None:
        ticket = self._seal.open(PURPOSE, sealed)
        return ticket if ticket is not None and self._wall_clock() - ticket.get("at", 0.0) <= KEPT_SECONDS else None

    def _opened(self, url: str) -> dict[str, Any] | None:
        """Return the ticket in one of our own URLs, or None for any other."""
        return self._seal.open(PURPOSE, url.removeprefix(f"{self._base_url}/"))

    def _digest(self, ticket: dict[str, Any]) -> str:
        return self._signing.digest("ticket", ticket["number"])

    def _ticket_key(self, tenant: str, digest: str) -> str:
        return self._keys.key(tenant, "ticket", digest)

    async def _look_at(self, tenant: str, task_id: str) -> None:
        """Make the next question about the task reach the backend, and wake those who wait for it."""
        await self._cache.forget_running(tenant, task_id)
        record = await self._expect_none(tenant, task_id)
        if record is not None and record.task.is_final:
            return  # a callback that comes after the end was read brings nothing, and is none to rely on
        await self.trust.arrived()
        await self._hint(tenant, task_id)

    async def _hint(self, tenant: str, task_id: str) -> None:
        try:
            await self._coordination.publish(pack(News(tenant, hinted=[task_id])))
        except StoreUnavailable:
            log.info("A callback could not be passed on: whoever waits reads on schedule")

    async def _expect_none(self, tenant: str, task_id: str) -> Record | None:
        """Let the task be read on schedule, and return what is known of it."""
        record = (await self._records.get_many(tenant, [task_id])).get(task_id)
        if record is not None:
            await self._records.put_many(tenant, [replace(record, expects_callback=False)])
        return record


def _task(task_id: str) -> bytes:
    return b"task:" + task_id.encode()


def _claim(task_ids: Sequence[str]) -> bytes:
    return b"claim:" + "\n".join(task_ids).encode()


def _claims(known: bytes | None) -> list[str]:
    """Return the tasks that callbacks have named before the submission was answered."""
    return _after(b"claim:", known)


def _answers(known: bytes | None) -> list[str]:
    """Return the task that the submission became, as a list, if that is known."""
    return _after(b"task:", known)


def _after(kind: bytes, known: bytes | None) -> list[str]:
    return known.removeprefix(kind).decode().split("\n") if known is not None and known.startswith(kind) else []
