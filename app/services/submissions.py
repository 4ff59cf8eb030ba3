"""What this service submitted moments ago, so that a backend slow to show it cannot make it look lost."""

from collections.abc import Callable, Sequence

from cachetools import TTLCache

from app.domain.task import Task, TaskState
from app.ports import Store

GRACE_SECONDS = 60.0
"""How long a submitted task that the backend does not show yet counts as pending."""


class Submissions:
    """Remembers task ids for the grace time: here, and in the store for the other replicas."""

    def __init__(self, store: Store, *, wall_clock: Callable[[], float], monotonic_clock: Callable[[], float]) -> None:
        """Share through `store`; `wall_clock` gives unix seconds."""
        self._store = store
        self._wall_clock = wall_clock
        self._here: TTLCache[str, float] = TTLCache(10_000, GRACE_SECONDS, timer=monotonic_clock)

    async def remember(self, tenant: str, task_id: str) -> None:
        """Note that the tenant's task was submitted now."""
        key, now = _key(tenant, task_id), self._wall_clock()
        self._here[key] = now
        await self._store.put_many({key: repr(now).encode()}, {key: GRACE_SECONDS})

    async def among(self, tenant: str, task_ids: Sequence[str]) -> dict[str, Task]:
        """Return those of `task_ids` that were submitted under a minute ago, as pending tasks."""
        keys = [_key(tenant, task_id) for task_id in task_ids]
        shared = await self._store.get_many(keys)
        oldest = self._wall_clock() - GRACE_SECONDS
        times = (self._here.get(key) or _time(value) for key, value in zip(keys, shared, strict=True))
        return {
            task_id: Task(task_id, TaskState.PENDING, created_at=submitted_at)
            for task_id, submitted_at in zip(task_ids, times, strict=True)
            if submitted_at is not None and submitted_at > oldest
        }


def _key(tenant: str, task_id: str) -> str:
    return f"{{{tenant}}}:submitted:1:{task_id}"


def _time(value: bytes | None) -> float | None:
    try:
        return float(value) if value is not None else None
    except ValueError:
        return None
