"""Detects replicas that share a Redis but not a database. An idempotency key could then buy once per database."""

import logging
from collections.abc import Awaitable, Callable

from app.ports.coordination import Leases
from app.ports.store import StoreUnavailable
from app.services.key_namespace import KeyNamespace
from app.services.log_throttle import ThrottledExceptionLog

RENEW_SECONDS = 30.0
KEPT_SECONDS = 120.0
"""Time for which a database's id stays in Redis after its last replica has stopped."""

MISMATCH = (
    "Another replica uses this Redis with another database. Calls with an idempotency key are refused: set the same "
    "LUMA_MCP_DATABASE_URL on every replica, or another LUMA_MCP_REDIS_PREFIX on each deployment"
)

REFUSED = (
    "Idempotency keys cannot be checked: the replicas of this service use different databases, which is an error of "
    "configuration. Nothing was sent: tell its operators."
)

log = logging.getLogger(__name__)


class SharedDatabase:
    """Compares the id of this process's database with the id in Redis. Stores the former if Redis has none."""

    def __init__(
        self,
        leases: Leases,
        keys: KeyNamespace,
        database_id: Callable[[], str | None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Share the id through `leases`. `database_id` returns None until the database is open."""
        self._leases = leases
        self._key = keys.key("database", "id")
        self._database_id = database_id
        self._sleep = sleep
        self._faults = ThrottledExceptionLog(
            log, "The databases of the replicas could not be compared. The next attempt is in 30 s"
        )
        self.has_mismatch = False
        """Whether other replicas with this Redis use another database."""

    def fault(self) -> str | None:
        """Return the error sentence for calls with an idempotency key; None if they may be served."""
        return REFUSED if self.has_mismatch else None

    async def run(self) -> None:
        """Compare now and every RENEW_SECONDS. The coroutine runs until it is cancelled."""
        while True:
            try:
                await self.compare()
            except Exception as exc:  # noqa: BLE001 - an exception must not end the loop
                self._faults.note(exc)
            await self._sleep(RENEW_SECONDS)

    async def differs(self, database_id: str) -> bool:
        """Return whether running replicas use another database than `database_id`. Nothing is written to Redis.

        Return False if Redis does not answer.
        """
        try:
            return await self._leases.get(self._key) not in (None, database_id.encode())
        except StoreUnavailable:
            return False

    async def compare(self) -> None:
        """Compare once, and log changes. If Redis does not answer or the database is not open, keep the last result."""
        if (database_id := self._database_id()) is None:
            return
        own_id = database_id.encode()
        try:
            shared_id = await self._leases.put_if_absent(self._key, own_id, KEPT_SECONDS)
            if shared_id == own_id:
                await self._leases.replace(self._key, own_id, own_id, KEPT_SECONDS)
        except StoreUnavailable:
            return
        had_mismatch, self.has_mismatch = self.has_mismatch, shared_id not in (None, own_id)
        if self.has_mismatch and not had_mismatch:
            log.error(MISMATCH)
        elif had_mismatch and not self.has_mismatch:
            log.info("All replicas with this Redis use one database again. Calls with an idempotency key are served")
