"""A bounded queue of purchase outcomes that are not yet written to the database, fair between callers."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from app.domain.purchase import NewPurchase, PurchaseState
from app.services.limits.caller_quota import CallerQuota, QuotaLimits

MAX_QUEUED = 10_000
MAX_QUEUED_PER_CALLER = 2_000
MAX_QUEUED_UNACCEPTED = 2_500
"""Maximum number of queued outcomes per process: in all, for one caller, and for all callers who are not accepted.

An outcome takes less than 1 KB.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a purchase.

    Attributes:
        purchase: the purchase as it was before its submission.
        state: the new state; None if nothing was bought, so that the row is deleted.
        task_id: the task that was started; None if none is known.
        is_recorded: whether the purchase itself is in the database. False if that is not certain.

    """

    purchase: NewPurchase
    state: PurchaseState | None
    task_id: str | None = None
    is_recorded: bool = True


class OutcomeQueue:
    """A queue for each caller.

    Callers with accepted tokens and all other callers are served alternately, and round-robin within each group.
    """

    def __init__(self, is_accepted: Callable[[str], bool]) -> None:
        """Start empty. `is_accepted` returns whether the backend has accepted a caller's token lately."""
        limits = QuotaLimits(MAX_QUEUED, MAX_QUEUED_PER_CALLER, MAX_QUEUED_UNACCEPTED)
        self._quota = CallerQuota(limits, is_accepted)
        self._is_accepted = is_accepted
        self._groups: tuple[OrderedDict[str, deque[Outcome]], ...] = (OrderedDict(), OrderedDict())
        """The callers' queues: of callers without an accepted token, then of callers with one."""
        self._next_group = 0

    def __len__(self) -> int:
        """Return the number of outcomes, including those taken and not yet removed."""
        return self._quota.in_use

    def add(self, outcome: Outcome) -> bool:
        """Add an outcome. Return False, and drop it, if the queue or its caller's share is full."""
        caller = outcome.purchase.caller
        if not self._quota.take(caller):
            return False
        self._queue_of(caller).append(outcome)
        return True

    def take(self) -> Outcome | None:
        """Return the next outcome; None if the queue is empty. Call `remove` or `put_back` with it afterwards."""
        for group in (self._groups[self._next_group], self._groups[1 - self._next_group]):
            if group:
                self._next_group = 1 - self._next_group
                caller, outcomes = group.popitem(last=False)
                outcome = outcomes.popleft()
                if outcomes:
                    group[caller] = outcomes
                return outcome
        return None

    def remove(self, outcome: Outcome) -> None:
        """Free the place of an outcome that was taken and written."""
        self._quota.give_back(outcome.purchase.caller)

    def put_back(self, outcome: Outcome) -> None:
        """Put an outcome that was taken and could not be written at the head of its caller's queue again."""
        self._queue_of(outcome.purchase.caller).appendleft(outcome)

    def _queue_of(self, caller: str) -> deque[Outcome]:
        group = next((group for group in self._groups if caller in group), self._groups[self._is_accepted(caller)])
        return group.setdefault(caller, deque())
