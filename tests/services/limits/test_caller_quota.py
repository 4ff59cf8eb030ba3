"""What callers hold at once, bounded for each and for all."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import RateLimited
from app.services.limits.caller_quota import CallerQuota, QuotaLimits


def known(total: int, per_caller: int) -> CallerQuota:
    return CallerQuota(QuotaLimits(total, per_caller, 0), lambda _owner: True)


def test_callers_that_nobody_knows_leave_a_part_to_the_others() -> None:
    accepted = set[str]()
    quota = CallerQuota(QuotaLimits(12, 4, 6), accepted.__contains__)
    assert [quota.take("x", 4), quota.take("y", 2), quota.take("z")] == [True, True, False]
    accepted.update("xa")
    assert [quota.take("a", 3), quota.take("x", 1)] == [True, False], "a caller has its own limit besides"
    assert quota.take("x", 0), "what x holds counts among the known now"
    assert quota.take("z", 1)
    for owner, amount in (("x", 4), ("y", 2), ("z", 1), ("a", 3)):
        quota.give_back(owner, amount)
    assert [quota.take("y", 4), quota.take("z", 2), quota.take("w")] == [True, True, False]


def test_quota_refuses_one_caller_and_serves_the_others() -> None:
    quota = known(10, 3)
    assert [quota.take("a") for _ in range(4)] == [True, True, True, False]
    assert quota.take("b")


def test_quota_refuses_everyone_when_all_of_it_is_lent() -> None:
    quota = known(3, 2)
    assert [quota.take("a"), quota.take("a"), quota.take("b"), quota.take("c")] == [True, True, True, False]
    quota.give_back("a")
    assert quota.take("c")


def test_a_place_is_given_back_whatever_ends_it() -> None:
    quota = known(1, 1)
    with pytest.raises(KeyError), quota.place("a", "No."):
        raise KeyError
    with quota.place("a", "No."):
        with pytest.raises(RateLimited, match="Full") as refused, quota.place("a", "Full."):
            pass
        assert refused.value.retry_after_seconds == 5.0
    assert quota.in_use == 0


def test_however_many_hold_as_much_as_they_may_there_is_something_left_for_one_that_comes() -> None:
    quota = known(1000, 100)
    for name in map(str, range(40)):
        while quota.take(name):
            pass
    assert quota.take("honest")
    quota = CallerQuota(QuotaLimits(1000, 100, 500), lambda _owner: False)
    for name in map(str, range(40)):
        while quota.take(name):
            pass
    assert quota.take("unknown")


def test_an_eighth_is_left_to_accepted_callers_that_come_whoever_else_holds_the_rest() -> None:
    """The busiest customers hold three quarters, and made-up tokens take what is lent to those who hold little."""
    quota = CallerQuota(QuotaLimits(1000, 100, 500), lambda owner: owner.startswith("customer"))
    for number in range(40):
        while quota.take(f"customer-{number}"):
            pass
    invented = [quota.take(f"invented-{number}") for number in range(1000)]
    assert any(invented), "somebody who has just come is served"
    assert quota.in_use == 875
    assert all(quota.take(f"customer-{number}") for number in range(100, 225))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 5))))
def test_quota_never_lends_more_than_it_has(steps: list[tuple[str, int]]) -> None:
    quota, held = CallerQuota(QuotaLimits(12, 6, 8), "a".__eq__), Counter[str]()
    for owner, amount in steps:
        if amount > 0 and quota.take(owner, amount):
            held[owner] += amount
        elif amount < 0 and held[owner] >= -amount:
            quota.give_back(owner, -amount)
            held[owner] += amount
        assert quota.in_use == held.total() <= 12
        assert max(held.values(), default=0) <= 6
        assert held.total() - held["a"] <= 8


def test_nothing_may_be_lent_and_given_back_any_number_of_times() -> None:
    quota = known(10, 3)
    assert [quota.take("a", 0), quota.take("a", 0)] == [True, True]
    for _ in range(2):
        quota.give_back("a", 0)
    assert quota.in_use == 0
