"""The repository of snapshots of running tasks, which replicas share through the store."""

from collections.abc import Callable, Mapping, Sequence

from cachetools import TTLCache

from app.domain.rendered import RenderedTask
from app.domain.snapshot import (
    GRACE_SECONDS,
    SNAPSHOT_LIFE_SECONDS,
    TaskSnapshot,
    is_in_grace,
    pending_task,
    snapshot_of_submission,
)
from app.ports.rendering import Renderer
from app.ports.store import Store
from app.services.tasks.sealed_values import SealedValues
from app.services.tasks.stored_format import Malformed, pack_snapshot, unpack_snapshot

SNAPSHOT_KIND = "record:5"
"""Part of every key. Raise its number when the stored format changes, so that two releases can share a store."""

MAX_NEW = 10_000
"""Size of the cache of new tasks, about 1 KB an entry: a new task has no link and no prompt yet."""


class TaskSnapshots:
    """Stores snapshots. Those of new tasks are also kept in this process for GRACE_SECONDS, in case the store fails."""

    def __init__(
        self,
        store: Store,
        sealed_values: SealedValues,
        *,
        render: Renderer,
        wall_clock: Callable[[], float],
        monotonic_clock: Callable[[], float],
    ) -> None:
        """Share snapshots through `store`, sealed by `sealed_values`. `wall_clock` returns unix seconds."""
        self._store = store
        self._sealed = sealed_values
        self._render = render
        self._wall_clock = wall_clock
        self._local: TTLCache[str, TaskSnapshot] = TTLCache(MAX_NEW, GRACE_SECONDS, timer=monotonic_clock)

    async def put_many(self, tenant: str, snapshots: Sequence[TaskSnapshot]) -> None:
        """Store `snapshots` for SNAPSHOT_LIFE_SECONDS. Those of new tasks are also kept in this process."""
        now = self._wall_clock()
        by_key = {self._sealed.key(tenant, snapshot.task.id): snapshot for snapshot in snapshots}
        for key, snapshot in by_key.items():
            if is_in_grace(snapshot, now):
                self._local[key] = snapshot
        until = now + SNAPSHOT_LIFE_SECONDS
        packed = ((key, self._sealed.seal(key, pack_snapshot(snapshot, until))) for key, snapshot in by_key.items())
        values = {key: value for key, value in packed if value is not None}
        await self._store.put_many(values, dict.fromkeys(values, SNAPSHOT_LIFE_SECONDS))

    async def add_submitted(self, tenant: str, task_id: str, *, expects_callback: bool) -> None:
        """Store the snapshot of a task that the backend has just accepted."""
        now = self._wall_clock()
        snapshot = snapshot_of_submission(
            self._render(pending_task(task_id, now)), now, expects_callback=expects_callback
        )
        await self.put_many(tenant, [snapshot])

    async def get_many(self, tenant: str, task_ids: Sequence[str]) -> dict[str, TaskSnapshot]:
        """Return the snapshots found, by task id."""
        keys = [self._sealed.key(tenant, task_id) for task_id in task_ids]
        values = await self._store.get_many(keys)
        unsealed = self._sealed.unseal_each(keys, values)
        snapshots = {
            task_id: self._unpack(task_id, packed) or self._local.get(key)
            for task_id, key, packed in zip(task_ids, keys, unsealed, strict=True)
        }
        return {task_id: snapshot for task_id, snapshot in snapshots.items() if snapshot is not None}

    async def recently_submitted(self, tenant: str, task_ids: Sequence[str]) -> Mapping[str, RenderedTask]:
        """Return the last known state of those tasks that were submitted less than GRACE_SECONDS ago."""
        snapshots, now = await self.get_many(tenant, task_ids), self._wall_clock()
        return {task_id: snapshot.task for task_id, snapshot in snapshots.items() if is_in_grace(snapshot, now)}

    def _unpack(self, task_id: str, packed: bytes | None) -> TaskSnapshot | None:
        try:
            return unpack_snapshot(task_id, packed, self._wall_clock()) if packed is not None else None
        except Malformed:
            return None
