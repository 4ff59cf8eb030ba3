"""A bounded queue of purchase outcomes that are not yet written to the database, fair between callers."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from app.domain.purchase import NewPurchase, PurchaseState
from app.services.limits.caller_quota import CallerQuota, QuotaLimits

MOST_UNWRITTEN = 10_000
MOST_OF_A_CALLER = 2_000
MOST_OF_UNACCEPTED = 2_500
"""Limits of queued outcomes per process, under 1 KB each: in total, per caller, and for all unaccepted tokens."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a submission.

    Attributes:
        purchase: the submission.
        state: the new state; None deletes the row. Nothing was bought then.
        task_id: the task that was started; None if none is known.
        is_recorded: whether the purchase itself is in the database. False if that is not certain.

    """

    purchase: NewPurchase
    state: PurchaseState | None
    task_id: str | None = None
    is_recorded: bool = True


class OutcomeQueue:
    """A queue for each caller. Callers are served round-robin; those with accepted tokens have every second turn."""

    def __init__(self, is_accepted: Callable[[str], bool]) -> None:
        """Start empty. `is_accepted` returns whether the backend has accepted a caller's token lately."""
        limits = QuotaLimits(MOST_UNWRITTEN, MOST_OF_A_CALLER, MOST_OF_UNACCEPTED)
        self._quota = CallerQuota(limits, is_accepted)
        self._is_accepted = is_accepted
        self._turns: tuple[OrderedDict[str, deque[Outcome]], ...] = (OrderedDict(), OrderedDict())
        self._next = 0

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
        for turns in (self._turns[self._next], self._turns[1 - self._next]):
            if turns:
                self._next = 1 - self._next
                caller, outcomes = turns.popitem(last=False)
                outcome = outcomes.popleft()
                if outcomes:
                    turns[caller] = outcomes
                return outcome
        return None

    def remove(self, outcome: Outcome) -> None:
        """Free the place of an outcome that was taken and written."""
        self._quota.give_back(outcome.purchase.caller)

    def put_back(self, outcome: Outcome) -> None:
        """Return an outcome that was taken and could not be written. It has kept its place in its caller's share."""
        self._queue_of(outcome.purchase.caller).appendleft(outcome)

    def _queue_of(self, caller: str) -> deque[Outcome]:
        turns = next((turns for turns in self._turns if caller in turns), self._turns[self._is_accepted(caller)])
        return turns.setdefault(caller, deque())
