"""A caller's own submissions, newest first: for completion of task ids."""

from collections.abc import Sequence

from app.domain.foreign_text import is_plain_id
from app.ports import DatabaseUnavailable, Purchases

MOST_COMPLETIONS = 100
"""The most that the protocol lets one completion hold."""


class SubmittedTasks:
    """Reads the purchases of one caller at a time."""

    def __init__(self, purchases: Purchases) -> None:
        """Read from `purchases`."""
        self._purchases = purchases

    async def beginning_with(self, owners: Sequence[str], prefix: str) -> list[str]:
        """Return at most 100 ids of the owners' tasks that begin with `prefix`; none while the database is out."""
        if prefix and not is_plain_id(prefix):
            return []
        try:
            return await self._purchases.task_ids(owners, prefix, MOST_COMPLETIONS)
        except DatabaseUnavailable:
            return []
