"""Whether callbacks come: while they do, tasks that will call back are read rarely; while they stay away, on schedule.

The backend is asked to call back in either case, so the first callback in time brings the trust back.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping

from app.domain.backend import BackendDescription
from app.domain.rendered import RenderedTask
from app.domain.snapshot import TaskSnapshot
from app.ports.coordination import Leases
from app.ports.store import StoreUnavailable
from app.services.key_namespace import KeyNamespace

MISSES_AT_FIRST = 1
MISSES = 2
"""Tasks in a row that end without a callback before callbacks are doubted. Once callbacks came, one may get lost."""

LATE_SECONDS = 30.0
"""How long after the end of a task its callback is not yet missing."""

KEPT_SECONDS = 30 * 24 * 3600.0
"""How long the doubt is written down for `luma-mcp check`, unless a callback comes."""

log = logging.getLogger(__name__)


class CallbackTrust:
    """Counts tasks that ended without their callback. Each replica judges by the tasks that it reads itself."""

    def __init__(  # noqa: PLR0913 - who calls where, and who is told
        self,
        address: str,
        backend: BackendDescription,
        leases: Leases,
        keys: KeyNamespace,
        *,
        missing: Callable[[], None],
        doubted: Callable[[int], None],
    ) -> None:
        """Judge callbacks of `backend` to `address`.

        `missing` is called for each that did not come, `doubted` with 1 or 0.
        """
        self._backend = backend
        self._leases = leases
        self._key = keys.key("callbacks", "doubted", hashlib.sha256(address.encode()).hexdigest()[:16])
        self._missing = missing
        self._doubted = doubted
        self._misses, self._allowed = 0, MISSES_AT_FIRST

    @property
    def is_trusted(self) -> bool:
        """Whether callbacks come, as far as this replica knows."""
        return self._misses < self._allowed

    async def after_read(
        self, before: Mapping[str, TaskSnapshot | None], tasks: Mapping[str, RenderedTask], now: float
    ) -> None:
        """Judge by tasks that were just read: those that ended a while ago and were never called about count."""
        for task_id, task in tasks.items():
            snapshot = before[task_id]
            if snapshot is not None and snapshot.expects_callback and _ended_long_ago(task, now):
                self._missing()
                await self._miss()

    async def arrived(self) -> None:
        """Note that a callback came while its task was not known to have ended."""
        self.arrived_elsewhere()
        try:
            await self._leases.remove(self._key, b"1")
        except StoreUnavailable:
            return

    def arrived_elsewhere(self) -> None:
        """Note that a callback came to this replica or another."""
        if not self.is_trusted:
            log.info("%s calls back again: running tasks are read when it does", self._backend.name)
            self._doubted(0)
        self._misses, self._allowed = 0, MISSES

    async def is_doubted_anywhere(self) -> bool:
        """Return whether a replica that shares the store doubts callbacks. Raises StoreUnavailable."""
        return await self._leases.get(self._key) is not None

    async def _miss(self) -> None:
        was_trusted = self.is_trusted
        self._misses += 1
        if not was_trusted or self.is_trusted:
            return
        log.warning(
            "%s does not call back: videos ended without it (%d in a row). Running tasks are read on schedule until a "
            "callback comes. Let %s reach LUMA_MCP_PUBLIC_URL, or name its host in LUMA_MCP_ALLOWED_HOSTS instead",
            self._backend.name,
            self._misses,
            self._backend.name,
        )
        self._doubted(1)
        try:
            await self._leases.put_if_absent(self._key, b"1", KEPT_SECONDS)
        except StoreUnavailable:
            return


def _ended_long_ago(task: RenderedTask, now: float) -> bool:
    return task.is_final and task.finished_at is not None and now - task.finished_at > LATE_SECONDS
