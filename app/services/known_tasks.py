"""Which task ids a tenant has met here: for completion, so that a lost id can be found again."""

from collections.abc import Iterable

from app.ports import Coordination, StoreUnavailable

KEPT_SECONDS = 30 * 24 * 3600.0
"""As long as a video URL lives."""

MOST_COMPLETIONS = 100
"""The most that the protocol lets one completion hold."""


class KnownTasks:
    """Remembers ids, the newest first; without the store it remembers nothing and says so to nobody."""

    def __init__(self, coordination: Coordination) -> None:
        """Remember through `coordination`."""
        self._coordination = coordination

    async def remember(self, tenant: str, task_ids: Iterable[str]) -> None:
        """Note that the tenant has met these tasks now."""
        if not (met := list(task_ids)):
            return
        try:
            await self._coordination.add_members(_key(tenant), met, KEPT_SECONDS)
        except StoreUnavailable:
            return

    async def beginning_with(self, tenant: str, prefix: str) -> list[str]:
        """Return at most 100 ids of the tenant's that begin with `prefix`, the newest first."""
        try:
            known = await self._coordination.members(_key(tenant), 1000)
        except StoreUnavailable:
            return []
        return [task_id for task_id in known if task_id.startswith(prefix)][:MOST_COMPLETIONS]


def _key(tenant: str) -> str:
    return f"{{{tenant}}}:known"
