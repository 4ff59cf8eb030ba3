"""The heart: one question about many tasks, answered with as little asking as possible."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.principal import Principal
from app.domain.task import Answer, Effort, Lookup, Task
from app.ports import LumaGateway
from app.services.records import TaskRecords
from app.services.single_flight import SingleFlight
from app.services.task_cache import TaskCache

FlightKey = tuple[str, str]
"""A tenant and a task id."""


@dataclass
class _Calls:
    """Calls to the backend made on behalf of one question."""

    count: int = 0


class TaskService:
    """Finds tasks: in the cache, among the fetches already in the air, or at the backend."""

    def __init__(
        self,
        gateway: LumaGateway,
        cache: TaskCache,
        records: TaskRecords,
        flights: SingleFlight[FlightKey, Answer],
    ) -> None:
        """Put the steps in order over finished parts."""
        self._gateway = gateway
        self._cache = cache
        self._records = records
        self._flights = flights

    async def find(self, principal: Principal, task_ids: Sequence[str]) -> Lookup:
        """Return an answer for each id, once each, in the order asked.

        Faults are among the answers and belong to their ids; nothing is raised for them.
        """
        wanted = dict.fromkeys(task_ids)
        cached = await self._cache.get_many(principal.tenant, list(wanted))
        if len(cached.tasks) == len(wanted):
            return Lookup(cached.tasks, Effort(cached.local_hits, cached.shared_hits))
        absent = [task_id for task_id in wanted if task_id not in cached.tasks]
        calls = _Calls()
        fetched, joined = await self._fetch_once(principal, absent, calls)
        effort = Effort(cached.local_hits, cached.shared_hits, joined, len(absent) - joined, calls.count)
        found = cached.tasks | fetched
        return Lookup({task_id: found[task_id] for task_id in wanted}, effort)

    async def read(self, principal: Principal, task_ids: Sequence[str]) -> dict[str, Answer]:
        """Ask the backend now, whatever is cached, and keep what it says. Joins fetches already in the air."""
        answers, _ = await self._fetch_once(principal, task_ids, _Calls())
        return answers

    async def _fetch_once(
        self, principal: Principal, task_ids: Sequence[str], calls: _Calls
    ) -> tuple[dict[str, Answer], int]:
        async def fetch(keys: list[FlightKey]) -> dict[FlightKey, Answer]:
            answers = await self._fetch(principal, [task_id for _, task_id in keys], calls)
            return {key: answers[key[1]] for key in keys}

        keys = [(principal.tenant, task_id) for task_id in task_ids]
        landed, joined = await self._flights.get_many(keys, fetch)
        return {task_id: answer for (_, task_id), answer in landed.items()}, joined

    async def _fetch(self, principal: Principal, task_ids: Sequence[str], calls: _Calls) -> dict[str, Answer]:
        reading = await self._gateway.find_tasks(principal, task_ids)
        calls.count += reading.calls
        answers = dict(reading.answers)
        unknown = [task_id for task_id in task_ids if answers[task_id] is None]
        if unknown:
            answers |= await self._records.still_in_grace(principal.tenant, unknown)
        if tasks := [answer for answer in reading.answers.values() if isinstance(answer, Task)]:
            await self._cache.put_many(principal.tenant, tasks)
        return answers
