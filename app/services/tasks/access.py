"""Access control for tasks of teams. Members may read the tasks that their team, or they themselves, have bought."""

from collections.abc import Iterable
from functools import partial

from app.domain.access import Principal, Visibility
from app.domain.errors import InternalError, RateLimited
from app.domain.rendered import TaskResult
from app.ports.repositories import DatabaseBusy, DatabaseUnavailable, Purchases
from app.services.limits.database_turns import DatabaseTurns
from app.services.tasks.generational_cache import GenerationalCache

MAX_CACHED = 20_000
"""Size of the cache of allowed tasks, about 250 bytes an entry. Entries never expire: a task keeps its owner."""

NO_DATABASE = (
    "The owner of this task cannot be checked right now, because this service's database does not answer. Nothing is "
    "lost: ask again shortly."
)
TOO_MANY_READS = "This service checks too many tasks at once right now. Nothing is lost: ask again shortly."


class TaskAccess:
    """Checks which tasks a caller may read, because a backend may return any task to anybody who knows its id."""

    def __init__(self, purchases: Purchases, reads: DatabaseTurns) -> None:
        """Look up the owners of tasks in `purchases`. `reads` limits concurrent queries."""
        self._purchases = purchases
        self._reads = reads
        self._allowed: GenerationalCache[str, bool] = GenerationalCache(MAX_CACHED, lambda _allowed: 1)

    async def denied(self, principal: Principal, task_ids: Iterable[str]) -> dict[str, TaskResult]:
        """Return the results of the tasks that `principal` may not read, by id.

        The result is None, as for an unknown task, or an error if the owner cannot be checked.
        """
        if principal.sees is Visibility.ALL:
            return {}
        member = principal.only_member
        prefix, ids = f"{principal.owner}:{member or ''}:", list(task_ids)
        cached = self._allowed.get_many([prefix + task_id for task_id in ids])
        if None not in cached:
            return {}
        uncached = [task_id for task_id, is_allowed in zip(ids, cached, strict=True) if not is_allowed]
        read = partial(self._purchases.bought, principal.owner, uncached, member=member)
        try:
            bought = await self._reads.run(principal.subject, read)
        except DatabaseBusy:
            return dict.fromkeys(uncached, RateLimited(TOO_MANY_READS, retry_after_seconds=5.0))
        except DatabaseUnavailable:
            return dict.fromkeys(uncached, InternalError(NO_DATABASE, retry_after_seconds=5.0))
        self._allowed.put_many({prefix + task_id: True for task_id in bought}, len(bought))
        return {task_id: None for task_id in uncached if task_id not in bought}
