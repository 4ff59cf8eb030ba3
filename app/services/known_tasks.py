"""Which task ids a tenant has met here: for completion, so that a lost id can be found again."""

import asyncio
from collections.abc import Iterable

from app.ports import Coordination, StoreUnavailable
from app.services.key_space import KeySpace

KEPT_SECONDS = 30 * 24 * 3600.0
"""As long as a video URL lives."""

MOST_COMPLETIONS = 100
"""The most that the protocol lets one completion hold."""


MOST_AT_ONCE = 100
"""Notes under way; beyond that, ids are not noted: a store that hangs must not pile up work."""


class KnownTasks:
    """Remembers ids, the newest first; without the store it remembers nothing and says so to nobody."""

    def __init__(self, coordination: Coordination, keys: KeySpace) -> None:
        """Remember through `coordination`."""
        self._coordination = coordination
        self._keys = keys
        self._notes: set[asyncio.Task[None]] = set()

    def remember(self, tenant: str, task_ids: Iterable[str]) -> None:
        """Note that the tenant has met these tasks now; nobody waits for it."""
        met = list(task_ids)
        if met and len(self._notes) < MOST_AT_ONCE:
            note = asyncio.get_running_loop().create_task(self._remember(tenant, met))
            self._notes.add(note)
            note.add_done_callback(self._notes.discard)

    async def aclose(self) -> None:
        """Let the notes under way come to their end, which the store's time-out bounds."""
        if self._notes:
            await asyncio.wait(self._notes)

    async def _remember(self, tenant: str, met: list[str]) -> None:
        try:
            await self._coordination.add_members(self._key(tenant), met, KEPT_SECONDS)
        except StoreUnavailable:
            return

    async def beginning_with(self, tenant: str, prefix: str) -> list[str]:
        """Return at most 100 ids of the tenant's that begin with `prefix`, the newest first."""
        try:
            known = await self._coordination.members(self._key(tenant), 1000)
        except StoreUnavailable:
            return []
        return [task_id for task_id in known if task_id.startswith(prefix)][:MOST_COMPLETIONS]

    def _key(self, tenant: str) -> str:
        return self._keys.key(tenant, "known")
