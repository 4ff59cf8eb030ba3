"""A caller's own submissions, newest first: for completion of task ids."""

from app.ports import DatabaseUnavailable, Purchases

MOST_COMPLETIONS = 100
"""The most that the protocol lets one completion hold."""


class SubmittedTasks:
    """Reads the purchases of one caller at a time."""

    def __init__(self, purchases: Purchases) -> None:
        """Read from `purchases`."""
        self._purchases = purchases

    async def beginning_with(self, owner: str, prefix: str) -> list[str]:
        """Return at most 100 ids of the owner's tasks that begin with `prefix`; none while the database is out."""
        try:
            return await self._purchases.task_ids(owner, prefix, MOST_COMPLETIONS)
        except DatabaseUnavailable:
            return []
