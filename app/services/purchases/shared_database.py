"""Detects replicas that share a Redis but not a database: a key would buy once in each database."""

import logging
from collections.abc import Awaitable, Callable

from app.ports.coordination import Leases
from app.ports.store import StoreUnavailable
from app.services.key_namespace import KeyNamespace
from app.services.log_throttle import ThrottledExceptionLog

RENEW_SECONDS = 30.0
KEPT_SECONDS = 120.0
"""How long a database's id stays in Redis after its last replica has ended."""

MISMATCH = (
    "Another replica uses this Redis with another database. Calls with an idempotency key are refused: set the same "
    "LUMA_MCP_DATABASE_URL on every replica, or another LUMA_MCP_REDIS_PREFIX on each deployment"
)

REFUSED = (
    "Idempotency keys cannot be checked: the replicas of this service use different databases, which is a fault of its "
    "set-up. Nothing was sent: tell its operators."
)

log = logging.getLogger(__name__)


class SharedDatabase:
    """Writes the database's id to Redis, and compares it with the one that is there."""

    def __init__(
        self,
        leases: Leases,
        keys: KeyNamespace,
        database_id: Callable[[], str | None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Agree through `leases`; `database_id` gives None until the database has been opened."""
        self._leases = leases
        self._key = keys.key("database", "id")
        self._database_id = database_id
        self._sleep = sleep
        self._faults = ThrottledExceptionLog(log, "The databases of the replicas could not be compared")
        self.is_other = False
        """Whether the replicas of this Redis use another database."""

    def fault(self) -> str | None:
        """Return the sentence for a call with an idempotency key that must be refused; None where it may be served."""
        return REFUSED if self.is_other else None

    async def run(self) -> None:
        """Compare now, and again every half minute, for ever."""
        while True:
            try:
                await self.compare()
            except Exception as exc:  # noqa: BLE001 - replicas that differ would never be noticed again
                self._faults.note(exc)
            await self._sleep(RENEW_SECONDS)

    async def differs(self, database_id: str) -> bool:
        """Return whether the replicas use another database than this one, and write nothing."""
        try:
            return await self._leases.get(self._key) not in (None, database_id.encode())
        except StoreUnavailable:
            return False

    async def compare(self) -> None:
        """Compare once. The last comparison stays valid while Redis or the database is out."""
        if (database_id := self._database_id()) is None:
            return
        mine = database_id.encode()
        try:
            there = await self._leases.put_if_absent(self._key, mine, KEPT_SECONDS)
            if there == mine:
                await self._leases.replace(self._key, mine, mine, KEPT_SECONDS)
        except StoreUnavailable:
            return
        was_other, self.is_other = self.is_other, there not in (None, mine)
        if self.is_other and not was_other:
            log.error(MISMATCH)
        elif was_other and not self.is_other:
            log.info("All replicas of this Redis use one database again: calls with an idempotency key are answered")
