"""Detects whether callbacks arrive. While they do, tasks that expect one are polled rarely, otherwise on schedule.

Submissions carry a callback URL even while no callbacks arrive, so the next one that arrives restores trust.
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

MISSES_BEFORE_FIRST_CALLBACK = 1
MISSES_AFTER_FIRST_CALLBACK = 2
"""Number of consecutive tasks without a callback after which callbacks are no longer trusted to arrive."""

LATE_SECONDS = 30.0
"""Time after the end of a task from which its callback counts as missing."""

KEPT_SECONDS = 30 * 24 * 3600.0
"""Time to live of the mark in the store which says that trust is lost. `luma-mcp check` reads the mark, and a callback
removes it.
"""

log = logging.getLogger(__name__)


class CallbackTrust:
    """Counts tasks that ended without a callback. Each replica counts only tasks that it reads itself."""

    def __init__(  # noqa: PLR0913 - the address, the state and two metrics
        self,
        address: str,
        backend: BackendDescription,
        leases: Leases,
        keys: KeyNamespace,
        *,
        on_missing: Callable[[], None],
        on_doubt_change: Callable[[int], None],
    ) -> None:
        """Watch callbacks of `backend` to `address`, the public address of this service.

        `on_missing` is called for each missing callback. `on_doubt_change` is called with 1 when trust is lost and with
        0 when it is restored.
        """
        self._backend = backend
        self._leases = leases
        self._key = keys.key("callbacks", "doubted", hashlib.sha256(address.encode()).hexdigest()[:16])
        self._on_missing = on_missing
        self._on_doubt_change = on_doubt_change
        self._misses, self._miss_limit = 0, MISSES_BEFORE_FIRST_CALLBACK

    @property
    def is_trusted(self) -> bool:
        """Whether callbacks arrive, according to the tasks that this replica has read."""
        return self._misses < self._miss_limit

    async def after_read(
        self, before: Mapping[str, TaskSnapshot | None], tasks: Mapping[str, RenderedTask], now: float
    ) -> None:
        """Count the tasks in `tasks` that ended more than LATE_SECONDS ago and still expected a callback in `before`.

        `tasks` were read at `now` (unix seconds); `before` are their snapshots before the read.
        """
        for task_id, task in tasks.items():
            snapshot = before[task_id]
            if snapshot is not None and snapshot.expects_callback and _ended_long_ago(task, now):
                self._on_missing()
                await self._record_miss()

    async def record_callback(self) -> None:
        """Restore trust in this process and remove the mark in the store.

        Call it after a callback to this replica for a task that is not yet known to be final.
        """
        self.restore()
        try:
            await self._leases.remove(self._key, b"1")
        except StoreUnavailable:
            return

    def restore(self) -> None:
        """Restore trust in this process, after a callback to any replica."""
        if not self.is_trusted:
            log.info("%s calls back again. Running tasks are read when their callbacks arrive", self._backend.name)
            self._on_doubt_change(0)
        self._misses, self._miss_limit = 0, MISSES_AFTER_FIRST_CALLBACK

    async def is_doubted_anywhere(self) -> bool:
        """Return whether any replica lost trust in the last 30 days and no callback has come since.

        Raises StoreUnavailable.
        """
        return await self._leases.get(self._key) is not None

    async def _record_miss(self) -> None:
        was_trusted = self.is_trusted
        self._misses += 1
        if not was_trusted or self.is_trusted:
            return
        log.warning(
            "%s does not call back: videos ended without a callback (%d in a row). Running tasks are read on schedule "
            "until a callback arrives. Let %s reach LUMA_MCP_PUBLIC_URL. If it cannot, leave that unset and list the "
            "host in LUMA_MCP_ALLOWED_HOSTS",
            self._backend.name,
            self._misses,
            self._backend.name,
        )
        self._on_doubt_change(1)
        try:
            await self._leases.put_if_absent(self._key, b"1", KEPT_SECONDS)
        except StoreUnavailable:
            return


def _ended_long_ago(task: RenderedTask, now: float) -> bool:
    return task.is_final and task.finished_at is not None and now - task.finished_at > LATE_SECONDS
