"""OutcomeQueue: fairness between callers, the order of outcomes, and limits for callers who are not accepted."""

from app.domain.purchase import NewPurchase, PurchaseState
from app.services.purchases.outcome_queue import MAX_QUEUED_PER_CALLER, MAX_QUEUED_UNACCEPTED, Outcome, OutcomeQueue


def outcome(owner: str, attempt: str = "attempt") -> Outcome:
    return Outcome(NewPurchase(attempt, owner, "generate", "hash"), PurchaseState.STARTED)


def taken(queue: OutcomeQueue, count: int) -> list[str]:
    found = [queue.take() for _ in range(count)]
    return [one.purchase.owner for one in found if one is not None]


def test_take_serves_accepted_callers_every_second_turn_and_each_of_them_in_turn() -> None:
    queue = OutcomeQueue(lambda caller: caller.startswith("accepted"))
    for number in range(50):
        queue.add(outcome(f"unaccepted-{number}"))
        queue.add(outcome("accepted-a"))
    queue.add(outcome("accepted-b"))
    assert "accepted-b" in taken(queue, 4)


def test_take_keeps_the_order_of_one_callers_outcomes() -> None:
    queue = OutcomeQueue(lambda _caller: True)
    for number in range(5):
        queue.add(outcome("a", str(number)))
    found = [queue.take() for _ in range(5)]
    assert [one.purchase.attempt for one in found if one is not None] == list("01234")


def test_add_limits_unaccepted_callers_together_and_each_accepted_caller() -> None:
    queue = OutcomeQueue(lambda caller: caller.startswith("accepted"))
    assert sum(queue.add(outcome(f"unaccepted-{number}")) for number in range(20_000)) <= MAX_QUEUED_UNACCEPTED
    assert sum(queue.add(outcome("accepted-a")) for _ in range(20_000)) <= MAX_QUEUED_PER_CALLER
    assert queue.add(outcome("accepted-b"))


def test_put_back_succeeds_and_keeps_the_order_when_the_caller_is_no_longer_accepted_and_the_queue_is_full() -> None:
    accepted = {"accepted-a", "accepted-b"}
    queue = OutcomeQueue(accepted.__contains__)
    queue.add(outcome("accepted-a", "first"))
    queue.add(outcome("accepted-a", "second"))
    first = queue.take()
    assert first is not None
    accepted.clear()
    while queue.add(outcome(f"unaccepted-{len(queue)}")):
        pass
    queue.put_back(first)
    left = []
    while (one := queue.take()) is not None:
        left.append(one.purchase.attempt)
    assert left.index("first") < left.index("second")


def test_put_back_queues_an_outcome_again_and_remove_frees_its_place() -> None:
    queue = OutcomeQueue(lambda _caller: True)
    queue.add(outcome("a"))
    first = queue.take()
    assert first is not None
    assert queue.take() is None
    assert len(queue) == 1
    queue.put_back(first)
    assert queue.take() == first
    queue.remove(first)
    assert len(queue) == 0
