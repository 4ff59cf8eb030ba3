"""Long polling: a lookup that waits, within a limit, until its tasks are final."""

from collections.abc import Awaitable, Callable, Sequence

from app.domain.backend import BackendDescription
from app.domain.errors import Unauthorized
from app.domain.rendered import Lookup, TaskResult
from app.domain.task import LookupStats
from app.ports.auth import Caller
from app.services.concurrency import wait_for_event
from app.services.limits.caller_quota import CallerQuota
from app.services.polling.registry import PollerRegistry
from app.services.polling.subscription import Subscription
from app.services.tasks.cache import TaskCache
from app.services.tasks.lookup import TaskService

PROGRESS_SECONDS = 5.0
"""Interval of progress notifications. Some clients extend their timeout with each."""

CHECK_SECONDS = 2.0
"""Interval at which a wait checks that its caller's key is still accepted. The version of the directory is read
as often.
"""

KEY_ENDED = (
    "The key of this call was revoked, has expired, or may read less than when the call began. Ask the user for a "
    "valid one."
)

MAX_WAITING = 3_000
MAX_WAITING_PER_CALLER = 100
"""Limits of waiting calls in this process, and of one caller."""

TOO_MANY_WAITING = (
    f"This service holds at most {MAX_WAITING_PER_CALLER} waiting calls per token and {MAX_WAITING} in all, and one "
    "of these limits is reached. Ask with wait_seconds 0, or about more tasks in one call."
)

PROGRESS_STEP_SECONDS = 0.001
"""Minimum increase between two progress values: MCP requires that progress increases every time."""

ProgressCallback = Callable[[float, int, int], Awaitable[None]]
"""Called with the seconds waited, the number of final tasks, and the number of all tasks."""


class TaskWaiter:
    """Looks up tasks like TaskService, and waits for running ones."""

    def __init__(  # noqa: PLR0913, PLR0917 - a wait is its sources, its clock and its limit
        self,
        tasks: TaskService,
        cache: TaskCache,
        pollers: PollerRegistry,
        backend: BackendDescription,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        *,
        quota: CallerQuota,
    ) -> None:
        """Measure time with `clock`, a monotonic clock in seconds, and wait with `sleep`, which uses the same clock.

        `quota` limits the number of waiting calls.
        """
        self._quota = quota
        self._tasks = tasks
        self._cache = cache
        self._pollers = pollers
        self._backend = backend
        self._clock = clock
        self._sleep = sleep
        self._is_closing = False

    def close(self) -> None:
        """End all waits. Each call returns the known states when its next progress notification is due."""
        self._is_closing = True

    async def find(
        self, caller: Caller, task_ids: Sequence[str], wait_seconds: float, report: ProgressCallback
    ) -> Lookup:
        """Return one result for each distinct id, in the order of `task_ids`, once all are settled or time is up.

        During the wait, only the poller reads the backend. Tasks without a result after `wait_seconds` are read once.
        Raises RateLimited if too many calls wait already, or wait for too many tasks, Unauthorized if the caller's key
        ends during the wait, and another LumaError if the key can no longer be checked.
        """
        principal = caller.principal
        denied = await self._tasks.access.denied(principal, task_ids) if principal.team is not None else {}
        allowed = [task_id for task_id in dict.fromkeys(task_ids) if task_id not in denied]
        if denied:
            lookup = await self._find(caller, allowed, wait_seconds, report) if allowed else Lookup({}, LookupStats())
            answers = {**lookup.answers, **denied}
            return Lookup({task_id: answers[task_id] for task_id in dict.fromkeys(task_ids)}, lookup.stats)
        return await self._find(caller, allowed, wait_seconds, report)

    async def _find(
        self, caller: Caller, task_ids: Sequence[str], wait_seconds: float, report: ProgressCallback
    ) -> Lookup:
        """Find distinct tasks that the caller may read."""
        principal = caller.principal
        if self._tasks.was_refused(principal.subject):
            await self._tasks.find(caller, task_ids[:1])  # verifies the token again, if that is due
            if self._tasks.was_refused(principal.subject):
                return Lookup(dict.fromkeys(task_ids, self._backend.error(Unauthorized)), LookupStats())
        cached = await self._cache.get_many(principal.owner, task_ids)
        answers: dict[str, TaskResult] = {task_id: task for task_id, task in cached.tasks.items() if task.is_final}
        unfinished = [task_id for task_id in task_ids if task_id not in answers]
        if unfinished:
            with self._quota.place(principal.subject, TOO_MANY_WAITING):
                async with self._pollers.watching(caller, unfinished) as subscription:
                    await self._wait(caller, subscription, wait_seconds, len(answers), report)
                    answers |= subscription.answers()
        stats = LookupStats(cached.local_hits, cached.shared_hits, joined=len(unfinished))
        if unanswered := [task_id for task_id in task_ids if task_id not in answers]:
            answers |= (await self._tasks.find(caller, unanswered)).answers
        return Lookup({task_id: answers[task_id] for task_id in task_ids}, stats)

    async def _wait(
        self,
        caller: Caller,
        subscription: Subscription,
        wait_seconds: float,
        finished_count: int,
        report: ProgressCallback,
    ) -> None:
        """Wait until all tasks are settled or the time is over. `finished_count` tasks had ended before.

        Raises Unauthorized if the caller's key has ended, and another LumaError if the key cannot be checked.
        """
        interval = PROGRESS_SECONDS if caller.current is None else CHECK_SECONDS  # None: only the backend can check
        began, progress = self._clock(), -PROGRESS_STEP_SECONDS
        total = finished_count + subscription.count
        while (
            not (subscription.settled or self._is_closing) and (remaining := began + wait_seconds - self._clock()) > 0
        ):
            progress = max(round(self._clock() - began, 3), progress + PROGRESS_STEP_SECONDS)
            await report(progress, finished_count + subscription.settled_count, total)
            subscription.changed.clear()
            await wait_for_event(subscription.changed, min(remaining, interval), self._sleep)
            if not await caller.has_unchanged_access():
                raise Unauthorized(KEY_ENDED)
