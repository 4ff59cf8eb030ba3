"""Detects whether callbacks arrive. While they do, tasks that expect one are polled rarely, otherwise on schedule.

Submissions carry a callback URL even while no callbacks arrive, so the next callback for a task that is not yet known
to be final restores trust.
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
"""Number of consecutive missing callbacks after which trust is lost, as long as none has ever arrived."""

MISSES_AFTER_FIRST_CALLBACK = 2
"""Number of consecutive missing callbacks after which trust is lost, once a callback has arrived."""

LATE_SECONDS = 30.0
"""Time after the end of a task from which its callback counts as missing."""

FLAG = b"1"
"""The value in the store while trust is lost. `luma-mcp check` reads it, and a callback removes it."""

FLAG_SECONDS = 30 * 24 * 3600.0
"""Time to live of the flag."""

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

        `leases` stores the flag that all replicas share. `on_missing` is called for each missing callback.
        `on_doubt_change` is called with 1 when trust is lost and with 0 when it is restored.
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

    async def count_missing_callbacks(
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
        """Restore trust in this process and remove the flag from the store.

        Call it after a callback to this replica for a task that is not yet known to be final.
        """
        self.restore()
        try:
            await self._leases.remove(self._key, FLAG)
        except StoreUnavailable:
            return

    def restore(self) -> None:
        """Restore trust in this process, after a callback to any replica."""
        if not self.is_trusted:
            log.info("Callbacks from %s arrive. Tasks that expect one are polled rarely", self._backend.name)
            self._on_doubt_change(0)
        self._misses, self._miss_limit = 0, MISSES_AFTER_FIRST_CALLBACK

    async def is_doubted_anywhere(self) -> bool:
        """Return whether the flag is set: a replica has lost trust, and `record_callback` has not been called since.

        The flag expires FLAG_SECONDS after it was first set. Raises StoreUnavailable.
        """
        return await self._leases.get(self._key) is not None

    async def _record_miss(self) -> None:
        was_trusted = self.is_trusted
        self._misses += 1
        if not was_trusted or self.is_trusted:
            return
        log.warning(
            "%s does not call back: videos ended without a callback (%d in a row). Running tasks are polled on "
            "schedule until a callback arrives for a task that is not yet known to be final. Let %s reach "
            "LUMA_MCP_PUBLIC_URL, or unset LUMA_MCP_PUBLIC_URL and list the host in LUMA_MCP_ALLOWED_HOSTS",
            self._backend.name,
            self._misses,
            self._backend.name,
        )
        self._on_doubt_change(1)
        try:
            await self._leases.put_if_absent(self._key, FLAG, FLAG_SECONDS)
        except StoreUnavailable:
            return


def _ended_long_ago(task: RenderedTask, now: float) -> bool:
    return task.is_final and task.finished_at is not None and now - task.finished_at > LATE_SECONDS
