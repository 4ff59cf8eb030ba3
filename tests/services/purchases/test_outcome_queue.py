"""OutcomeQueue: fairness between callers, the order of outcomes, and limits for made-up tokens."""

from app.domain.purchase import NewPurchase, PurchaseState
from app.services.purchases.outcome_queue import MAX_QUEUED_PER_CALLER, MAX_QUEUED_UNACCEPTED, Outcome, OutcomeQueue


def outcome(owner: str, attempt: str = "attempt") -> Outcome:
    return Outcome(NewPurchase(attempt, owner, "generate", "hash"), PurchaseState.STARTED)


def taken(queue: OutcomeQueue, count: int) -> list[str]:
    found = [queue.take() for _ in range(count)]
    return [one.purchase.owner for one in found if one is not None]


def test_callers_are_served_round_robin_and_accepted_ones_every_second_turn() -> None:
    queue = OutcomeQueue(lambda caller: caller.startswith("known"))
    for number in range(50):
        queue.add(outcome(f"made-up-{number}"))
        queue.add(outcome("known-a"))
    queue.add(outcome("known-b"))
    assert "known-b" in taken(queue, 4)


def test_outcomes_of_one_caller_keep_their_order() -> None:
    queue = OutcomeQueue(lambda _caller: True)
    for number in range(5):
        queue.add(outcome("a", str(number)))
    found = [queue.take() for _ in range(5)]
    assert [one.purchase.attempt for one in found if one is not None] == list("01234")


def test_made_up_tokens_and_single_callers_cannot_fill_the_queue() -> None:
    queue = OutcomeQueue(lambda caller: caller.startswith("known"))
    assert sum(queue.add(outcome(f"made-up-{number}")) for number in range(20_000)) <= MAX_QUEUED_UNACCEPTED
    assert sum(queue.add(outcome("known-a")) for _ in range(20_000)) <= MAX_QUEUED_PER_CALLER
    assert queue.add(outcome("known-b"))


def test_putting_back_never_fails_however_full_the_queue_has_become() -> None:
    accepted = {"known-a", "known-b"}
    queue = OutcomeQueue(accepted.__contains__)
    queue.add(outcome("known-a", "first"))
    queue.add(outcome("known-a", "second"))
    first = queue.take()
    assert first is not None
    accepted.clear()
    while queue.add(outcome(f"made-up-{len(queue)}")):
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
