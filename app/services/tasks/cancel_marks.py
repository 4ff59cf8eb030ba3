"""Marks tasks as cancelled for all replicas. The generation itself continues, because the backend cannot stop it."""

from collections.abc import Callable

from app.ports.coordination import Leases
from app.ports.sealing import Signer
from app.ports.store import StoreUnavailable
from app.services.key_namespace import KeyNamespace

KEPT_SECONDS = 30 * 24 * 3600.0
"""Time to live of a mark."""


class CancelMarks:
    """Stores the time at which a task was first cancelled. Marks without a valid signature are ignored."""

    def __init__(self, leases: Leases, signing: Signer, keys: KeyNamespace, wall_clock: Callable[[], float]) -> None:
        """Share marks through `leases`. `wall_clock` returns unix seconds."""
        self._leases = leases
        self._signing = signing
        self._keys = keys
        self._wall_clock = wall_clock

    async def put(self, owner: str, task_id: str) -> None:
        """Mark the task, unless it is marked already. Raises StoreUnavailable."""
        key = self._key(owner, task_id)
        mark = self._signing.sign(key, repr(self._wall_clock()).encode())
        await self._leases.put_if_absent(key, mark, KEPT_SECONDS)

    async def marked_at(self, owner: str, task_id: str) -> float | None:
        """Return when the task was marked (unix seconds); None if it was not, or if the store is unavailable."""
        key = self._key(owner, task_id)
        try:
            signed = await self._leases.get(key)
        except StoreUnavailable:
            return None
        marked_at = self._signing.verified(key, signed) if signed is not None else None
        return float(marked_at) if marked_at is not None else None

    def _key(self, owner: str, task_id: str) -> str:
        return self._keys.key(owner, "cancelled", task_id)
