"""Limits the concurrent submissions per credential to the number that the backend accepts."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from app.domain.access import Credential, Principal
from app.domain.backend import BackendDescription
from app.domain.errors import RateLimited
from app.services.limits.fair_limiter import FairLimiter, Shares

MAX_WAIT_SECONDS = 20.0
"""Longest wait for a place, the right to submit. The caller then gets RateLimited."""

MAX_WAITING = 50
"""Limit of waiting submissions of one owner: about as many as five places can serve in MAX_WAIT_SECONDS."""

TOO_MANY_WAIT = (
    f"{{backend}} accepts {{generations_at_once}} submissions of a token at once, and {MAX_WAITING} more wait "
    "already. Nothing was sent: wait for the calls in flight, then try again."
)

RETRY_SECONDS = 2.0
"""Pause before a retry if the backend refused a submission and named no retry time. Nothing was started by then, so
a retry is safe.
"""

MAX_NUMBERED = 50
"""Number of team credentials that the metric of free places can distinguish."""

log = logging.getLogger(__name__)

Send = Callable[[Credential], Awaitable[str]]
"""Submits once under a credential and returns the task id."""


class ConcurrencyLimiter:
    """Runs at most as many concurrent submissions per credential as the backend accepts. Others wait in a queue.

    Each submission uses the owner's credential with the fewest submissions in flight. The callers of one owner, such as
    the members of a team, are served round-robin.
    """

    def __init__(
        self,
        backend: BackendDescription,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        *,
        on_free_slots: Callable[[int, int], None] = lambda _number, _free: None,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Enforce the limits of `backend`. `clock` is monotonic, in seconds; `sleep` uses the same clock.

        `on_free_slots` is called whenever the number of free places of a team's credential changes. Its arguments are
        the credential's number, from 1 on in the order of first use, and the number of free places. `on_refusal` is
        called for each call that finds too many waiting, or waits too long.
        """
        self._on_free_slots = on_free_slots
        self._on_refusal = on_refusal
        self._metric_numbers: dict[str, int] = {}
        self._backend = backend
        self._clock = clock
        self._sleep = sleep
        self._queues: dict[str, _OwnerQueue] = {}
        self._running: Counter[str] = Counter()

    async def run(self, caller: Principal, credentials: Sequence[Credential], send: Send) -> str:
        """Call `send` with one of `credentials` when there is a free place, and return its result.

        `send` is called again only after the backend refused the submission with RateLimited. Raises RateLimited if too
        many calls wait or if the wait is too long, and whatever else `send` raises.
        """
        give_up_at = self._clock() + MAX_WAIT_SECONDS
        queue = self._queue_of(caller.owner, credentials)
        if queue.submissions >= queue.places + MAX_WAITING:
            self._on_refusal()
            raise RateLimited(self._backend.say(TOO_MANY_WAIT))
        queue.submissions += 1
        try:
            accepted = await self._take_place(queue, caller.subject)
            try:
                return await self._send(credentials, send, give_up_at, is_of_team=caller.team is not None)
            finally:
                queue.limiter.give_back(caller.subject, accepted=accepted)
        finally:
            queue.submissions -= 1
            if queue.submissions == 0 and self._queues.get(caller.owner) is queue:
                del self._queues[caller.owner]

    def _queue_of(self, owner: str, credentials: Sequence[Credential]) -> "_OwnerQueue":
        """Return the owner's queue; a new one if the owner's credentials have changed."""
        ids = frozenset(credential.id for credential in credentials)
        queue = self._queues.get(owner)
        if queue is None or queue.credential_ids != ids:
            queue = self._queues[owner] = _OwnerQueue(ids, len(ids) * self._backend.policy.generations_at_once)
        return queue

    async def _take_place(self, queue: "_OwnerQueue", subject: str) -> bool:
        """Wait for a place. Return `accepted`, an argument of `give_back`. Raises RateLimited on timeout."""
        accepted = queue.limiter.take_at_once(subject)
        if accepted is not None:
            return accepted
        timer = asyncio.ensure_future(self._sleep(MAX_WAIT_SECONDS))
        taking = asyncio.ensure_future(queue.limiter.take(subject))
        try:
            await asyncio.wait([timer, taking], return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                self._on_refusal()
                raise self._backend.error(RateLimited)
            return taking.result()
        except asyncio.CancelledError:
            if taking.done() and not taking.cancelled():
                queue.limiter.give_back(subject, accepted=taking.result())
            raise
        finally:
            timer.cancel()
            if not taking.done():
                taking.cancel()

    def _count(self, credential: Credential, change: int, *, is_of_team: bool) -> None:
        """Count the start (1) or end (-1) of a submission. `is_of_team`: a team's credential, which has a metric."""
        self._running[credential.id] += change
        running = self._running[credential.id]
        if not running:
            del self._running[credential.id]
        if not is_of_team or (credential.id not in self._metric_numbers and len(self._metric_numbers) >= MAX_NUMBERED):
            return
        if (number := self._metric_numbers.get(credential.id)) is None:
            number = self._metric_numbers[credential.id] = len(self._metric_numbers) + 1
            log.info("Credential %s of a team is number %d in the metric of free places", credential.id[:16], number)
        self._on_free_slots(number, max(self._backend.policy.generations_at_once - running, 0))

    async def _send(self, credentials: Sequence[Credential], send: Send, give_up_at: float, *, is_of_team: bool) -> str:
        while True:
            credential = min(credentials, key=lambda candidate: self._running[candidate.id])
            self._count(credential, 1, is_of_team=is_of_team)
            try:
                return await send(credential)
            except RateLimited as exc:
                pause = exc.retry_after_seconds or RETRY_SECONDS
                if self._clock() + pause >= give_up_at:
                    raise
            finally:
                self._count(credential, -1, is_of_team=is_of_team)
            await self._sleep(pause)


@dataclass(slots=True)
class _OwnerQueue:
    """The submissions of one owner.

    Attributes:
        places: number of submissions that all credentials together may run concurrently.
        submissions: number of running and waiting submissions.

    """

    credential_ids: frozenset[str]
    places: int
    submissions: int = 0
    limiter: FairLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.limiter = FairLimiter(Shares(self.places, self.places, self.places), lambda _subject: True)
