"""Looks up tasks: first in the cache, then among fetches in flight, then at the backend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.errors import LumaError, RateLimited, Unauthorized
from app.domain.rendered import Lookup, TaskResult
from app.domain.task import LookupStats, Task
from app.ports.auth import Caller
from app.ports.backend import VideoBackend
from app.services.limits.token_status import TokenStatusCache
from app.services.tasks.access import TaskAccess
from app.services.tasks.cache import TaskCache
from app.services.tasks.queued_ids import QueuedIds
from app.services.tasks.single_flight import SingleFlight
from app.services.tasks.snapshots import TaskSnapshots

FlightKey = tuple[str, str]
"""An owner and a task id."""


@dataclass
class _Calls:
    """The calls to the backend for one lookup: their number, and whether the first one was sent."""

    count: int = 0
    sent: bool = False

    def on_send(self) -> None:
        self.sent = True

    def has_sent(self) -> bool:
        return self.sent


class TaskService:
    """Looks up tasks for callers, and reads them at the backend."""

    def __init__(  # noqa: PLR0913, PLR0917 - a lookup uses every kind of state
        self,
        backend: VideoBackend,
        cache: TaskCache,
        snapshots: TaskSnapshots,
        flights: SingleFlight[FlightKey, TaskResult],
        token_status: TokenStatusCache,
        queued: QueuedIds,
        access: TaskAccess,
        *,
        on_read: Callable[[str, Sequence[Task]], None] = lambda _team, _tasks: None,
    ) -> None:
        """Use these dependencies. The service does not open or close them.

        `on_read` is called after each read for a team, with the owner (for a team, the team's id) and the tasks that
        the backend returned.
        """
        self._on_read = on_read
        self.access = access
        self._token_status = token_status
        self._queued = queued
        self._backend = backend
        self._cache = cache
        self._snapshots = snapshots
        self._flights = flights

    async def find(self, caller: Caller, task_ids: Sequence[str]) -> Lookup:
        """Return one result for each distinct id, in the order of `task_ids`.

        The result of an id whose read failed is the LumaError, which is not raised. A task that the backend does not
        have, or that the caller may not read, has the result None.
        """
        denied = await self.access.denied(caller.principal, task_ids) if caller.principal.team is not None else {}
        if not denied:
            return await self._find(caller, task_ids)
        allowed = [task_id for task_id in task_ids if task_id not in denied]
        lookup = await self._find(caller, allowed) if allowed else Lookup({}, LookupStats())
        answers = {**lookup.answers, **denied}
        return Lookup({task_id: answers[task_id] for task_id in dict.fromkeys(task_ids)}, lookup.stats)

    async def _find(self, caller: Caller, task_ids: Sequence[str]) -> Lookup:
        distinct_ids = list(dict.fromkeys(task_ids))
        principal = caller.principal
        if self._token_status.was_refused(principal.subject) and (
            error := await self._verify_refused_token(caller, distinct_ids)
        ):
            return Lookup(dict.fromkeys(distinct_ids, error), LookupStats())
        cached = await self._cache.get_many(principal.owner, distinct_ids)
        if len(cached.tasks) == len(distinct_ids):
            return Lookup(cached.tasks, LookupStats(cached.local_hits, cached.shared_hits))
        absent = [task_id for task_id in distinct_ids if task_id not in cached.tasks]
        calls = _Calls()
        fetched, joined = await self._fetch_or_join(caller, absent, calls)
        stats = LookupStats(cached.local_hits, cached.shared_hits, joined, len(absent) - joined, calls.count)
        answers = cached.tasks | fetched
        return Lookup({task_id: answers[task_id] for task_id in distinct_ids}, stats)

    def was_refused(self, subject: str) -> bool:
        """Return whether the backend has refused the token and has not accepted it since.

        As long as that is so, the caller gets no cached results.
        """
        return self._token_status.was_refused(subject)

    async def _verify_refused_token(self, caller: Caller, task_ids: Sequence[str]) -> LumaError | None:
        """Verify a refused token with a read of one of the ids. Return None if the backend accepts it again.

        Otherwise return the error for the caller: Unauthorized, or the reason why the token could not be verified.
        Right after a refusal, nothing is read. If all ids are cached, one is read as often as `try_start_verification`
        allows.
        """
        subject = caller.principal.subject
        if self._token_status.just_refused(subject):
            return self._backend.description.error(Unauthorized)
        cached = (await self._cache.get_many(caller.principal.owner, task_ids)).tasks
        if cached:
            self._token_status.record_cached_results(subject)
        probe = next((task_id for task_id in task_ids if task_id not in cached), None)
        if probe is None and self._token_status.try_start_verification(subject):
            probe = task_ids[0]
        if probe is None:
            return self._backend.description.error(Unauthorized)
        answer = (await self.read(caller, [probe]))[probe]
        if not self._token_status.was_refused(subject):
            return None
        if isinstance(answer, LumaError) and answer.is_retryable:
            self._token_status.retry_verification_soon(subject)
            return answer
        return self._backend.description.error(Unauthorized)

    async def read(self, caller: Caller, task_ids: Sequence[str]) -> dict[str, TaskResult]:
        """Read the tasks at the backend, or join fetches in flight. Tasks that are read are cached."""
        answers, _ = await self._fetch_or_join(caller, task_ids, _Calls())
        return answers

    async def _fetch_or_join(
        self, caller: Caller, task_ids: Sequence[str], calls: _Calls
    ) -> tuple[dict[str, TaskResult], int]:
        async def fetch(keys: list[FlightKey]) -> dict[FlightKey, TaskResult]:
            answers = await self._fetch(caller, [task_id for _, task_id in keys], calls)
            return {key: answers[key[1]] for key in keys}

        keys = [(caller.principal.owner, task_id) for task_id in task_ids]
        new_keys = self._flights.not_in_flight(keys)
        try:
            remove_queued = self._queued.add(caller.principal.subject, len(new_keys)) if new_keys else _noop
        except RateLimited as exc:
            return await self._join_only(keys, new_keys, exc)
        results, joined = await self._flights.get_many(keys, fetch, calls.has_sent, remove_queued)
        return {task_id: answer for (_, task_id), answer in results.items()}, joined

    async def _join_only(
        self, keys: Sequence[FlightKey], new_keys: Sequence[FlightKey], refusal: RateLimited
    ) -> tuple[dict[str, TaskResult], int]:
        """Return the results of fetches in flight, and `refusal` for `new_keys`, which would need a new fetch."""
        refused = set(new_keys)
        in_flight = [key for key in keys if key not in refused]
        results, _ = await self._flights.get_many(in_flight, _unreachable_fetch) if in_flight else ({}, 0)
        refusal.with_traceback(None)
        return {key[1]: refusal if key in refused else results[key] for key in keys}, len(in_flight)

    async def _fetch(self, caller: Caller, task_ids: Sequence[str], calls: _Calls) -> dict[str, TaskResult]:
        owner = caller.principal.owner
        try:
            credential = await caller.credentials.one()
        except LumaError as exc:
            return dict.fromkeys(task_ids, exc.with_traceback(None))
        batch = await self._backend.find_tasks(credential, task_ids, calls.on_send)
        calls.count += batch.calls
        tasks = [answer for answer in batch.answers.values() if isinstance(answer, Task)]
        answers: dict[str, TaskResult] = {
            task_id: answer for task_id, answer in batch.answers.items() if not isinstance(answer, Task)
        }
        unknown = [task_id for task_id in task_ids if task_id in answers and answers[task_id] is None]
        if unknown:
            answers |= await self._snapshots.recently_submitted(owner, unknown)
        if tasks and caller.principal.team is not None:
            self._on_read(owner, tasks)
        if tasks:
            answers |= await self._cache.put_many(owner, tasks)
        return answers


def _noop() -> None:
    return None


async def _unreachable_fetch(_keys: list[FlightKey]) -> dict[FlightKey, TaskResult]:
    raise AssertionError("all of these keys are in flight")
