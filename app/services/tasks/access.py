"""Access control for tasks of teams. Members may read the tasks that their team, or they themselves, have bought."""

from collections.abc import Iterable
from functools import partial

from app.domain.access import Principal, Visibility
from app.domain.errors import InternalError, RateLimited
from app.domain.rendered import TaskResult
from app.ports.repositories import DatabaseBusy, DatabaseUnavailable, Purchases
from app.services.limits.database_turns import DatabaseTurns
from app.services.tasks.generational_cache import GenerationalCache

MOST_KNOWN = 20_000
"""Size of the cache of allowed tasks, about 250 bytes an entry. Entries stay valid: a task never changes its owner."""

NO_DATABASE = (
    "The owner of this task cannot be checked right now, because this service's database does not answer. Nothing is "
    "lost: ask again shortly."
)
TOO_MANY_READS = "This service checks too many tasks at once right now. Nothing is lost: ask again shortly."


class TaskAccess:
    """Checks which tasks a caller may read, because a backend may return any task to anybody who knows its id."""

    def __init__(self, purchases: Purchases, reads: DatabaseTurns) -> None:
        """Look tasks up in `purchases`, in `reads`."""
        self._purchases = purchases
        self._reads = reads
        self._known: GenerationalCache[str, bool] = GenerationalCache(MOST_KNOWN, lambda _is: 1)

    async def denied(self, principal: Principal, task_ids: Iterable[str]) -> dict[str, TaskResult]:
        """Return a result for each task that `principal` may not read: None, or an error if that cannot be checked."""
        if principal.sees is Visibility.ALL:
            return {}
        member = principal.only_member
        prefix, ids = f"{principal.owner}:{member or ''}:", list(task_ids)
        known = self._known.get_many([prefix + task_id for task_id in ids])
        if None not in known:
            return {}
        asked = [task_id for task_id, is_known in zip(ids, known, strict=True) if not is_known]
        read = partial(self._purchases.made, principal.owner, asked, member=member)
        try:
            made = await self._reads.run(principal.subject, read)
        except DatabaseBusy:
            return dict.fromkeys(asked, RateLimited(TOO_MANY_READS, retry_after_seconds=5.0))
        except DatabaseUnavailable:
            return dict.fromkeys(asked, InternalError(NO_DATABASE, retry_after_seconds=5.0))
        self._known.put_many({prefix + task_id: True for task_id in made}, len(made))
        return {task_id: None for task_id in asked if task_id not in made}
