"""The records of running tasks, shared by the replicas: what was submitted, and what the backend last showed."""

from collections.abc import Callable, Mapping, Sequence

from cachetools import TTLCache

from app.domain.record import GRACE_SECONDS, RECORD_LIFE_SECONDS, Record, in_grace
from app.domain.task import Task
from app.ports.store import Store
from app.services.owned import NotOurs, Owned

RECORD_KIND = "record:3"


class TaskRecords:
    """Remembers running tasks in the store, and here for the grace time, in case the store is out."""

    def __init__(
        self,
        store: Store,
        owned: Owned[Record],
        *,
        wall_clock: Callable[[], float],
        monotonic_clock: Callable[[], float],
    ) -> None:
        """Share through `store`, as `owned` says; `wall_clock` gives unix seconds."""
        self._store = store
        self._owned = owned
        self._wall_clock = wall_clock
        self._here: TTLCache[str, Record] = TTLCache(10_000, GRACE_SECONDS, timer=monotonic_clock)

    async def put_many(self, tenant: str, records: Sequence[Record]) -> None:
        """Keep what is known now."""
        kept, now = {self._owned.key(tenant, record.task.id): record for record in records}, self._wall_clock()
        for key, record in kept.items():
            if in_grace(record, now):
                self._here[key] = record
        packed = ((key, self._owned.pack(key, record, now + RECORD_LIFE_SECONDS)) for key, record in kept.items())
        values = {key: value for key, value in packed if value is not None}
        await self._store.put_many(values, dict.fromkeys(values, RECORD_LIFE_SECONDS))

    async def get_many(self, tenant: str, task_ids: Sequence[str]) -> dict[str, Record]:
        """Return the records there are, by task id."""
        keys = [self._owned.key(tenant, task_id) for task_id in task_ids]
        values = await self._store.get_many(keys)
        found = {
            task_id: self._unpack(key, task_id, value) or self._here.get(key)
            for task_id, key, value in zip(task_ids, keys, values, strict=True)
        }
        return {task_id: record for task_id, record in found.items() if record is not None}

    async def still_in_grace(self, tenant: str, task_ids: Sequence[str]) -> Mapping[str, Task]:
        """Return those of `task_ids` that were submitted under a minute ago, as pending tasks."""
        records, now = await self.get_many(tenant, task_ids), self._wall_clock()
        return {task_id: record.task for task_id, record in records.items() if in_grace(record, now)}

    def _unpack(self, key: str, task_id: str, value: bytes | None) -> Record | None:
        if value is None:
            return None
        try:
            record = self._owned.unpack(key, value, self._wall_clock())
        except NotOurs:
            return None
        if record is None or record.task.id != task_id:
            return None
        return record if record.task.has_plausible_times and record.task.has_showable_text else None
