"""CallerQuota: limits per caller, in total and for unaccepted tokens, and the reserve for new callers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import RateLimited
from app.services.limits.caller_quota import CallerQuota, QuotaLimits


def quota_for_accepted(total: int, per_caller: int) -> CallerQuota:
    return CallerQuota(QuotaLimits(total, per_caller, 0), lambda _owner: True)


def test_take_limits_all_unaccepted_callers_together() -> None:
    accepted = set[str]()
    quota = CallerQuota(QuotaLimits(12, 4, 6), accepted.__contains__)
    assert [quota.take("x", 4), quota.take("y", 1), quota.take("w", 1), quota.take("z")] == [True, True, True, False]
    accepted.update("xa")
    assert [quota.take("a", 3), quota.take("x", 1)] == [True, False], "a caller also has a limit of its own"
    assert quota.take("x", 0), "the amount of x now counts as accepted"
    assert quota.take("z", 1)
    for owner, amount in (("x", 4), ("y", 1), ("w", 1), ("z", 1), ("a", 3)):
        quota.give_back(owner, amount)
    assert [quota.take("y", 4), quota.take("z", 1), quota.take("w"), quota.take("v")] == [True, True, True, False]


def test_take_refuses_a_caller_at_its_limit_and_serves_others() -> None:
    quota = quota_for_accepted(10, 3)
    assert [quota.take("a") for _ in range(4)] == [True, True, True, False]
    assert quota.take("b")


def test_take_refuses_everyone_when_the_quota_is_used_up() -> None:
    quota = quota_for_accepted(3, 2)
    assert [quota.take("a"), quota.take("a"), quota.take("b"), quota.take("c")] == [True, True, True, False]
    quota.give_back("a")
    assert quota.take("c")


def test_place_is_released_after_an_exception_and_raises_rate_limited_when_full() -> None:
    quota = quota_for_accepted(1, 1)
    with pytest.raises(KeyError), quota.place("a", "No."):
        raise KeyError
    with quota.place("a", "No."):
        with pytest.raises(RateLimited, match="Full") as refused, quota.place("a", "Full."):
            pass
        assert refused.value.retry_after_seconds == 5.0
    assert quota.in_use == 0


def test_reserve_serves_a_new_caller_when_many_others_hold_their_maximum() -> None:
    quota = quota_for_accepted(1000, 100)
    for name in map(str, range(40)):
        while quota.take(name):
            pass
    assert quota.take("honest")
    quota = CallerQuota(QuotaLimits(1000, 100, 500), lambda _owner: False)
    for name in map(str, range(40)):
        while quota.take(name):
            pass
    assert quota.take("unknown")


def test_large_first_requests_of_many_callers_leave_room_for_a_small_one() -> None:
    """60 accepted tokens that each ask for 200 tasks at once, and a caller that asks for 50."""
    quota = quota_for_accepted(6000, 2400)
    taken = [quota.take(name, 200) for name in map(str, range(60))]
    assert taken.count(True) == 25
    assert quota.take("honest", 50)


def test_the_only_request_of_a_caller_may_grow_in_the_reserve_and_a_second_one_may_not() -> None:
    quota = quota_for_accepted(1000, 250)
    assert all(quota.take(name, 250) for name in "xyz")
    assert quota.take("honest", 10)
    assert quota.take("honest", 31, already_taken=10), "41 of the 250 that are free without it"
    assert not quota.take("honest", 1, already_taken=41)
    assert not quota.take("honest", 10)
    assert quota.take("newcomer", 7)


def test_last_eighth_is_reserved_for_new_accepted_callers() -> None:
    """Large customers hold three quarters, and made-up tokens use up the reserve that is open to them."""
    quota = CallerQuota(QuotaLimits(1000, 100, 500), lambda owner: owner.startswith("customer"))
    for number in range(40):
        while quota.take(f"customer-{number}"):
            pass
    made_up = [quota.take(f"made-up-{number}") for number in range(1000)]
    assert any(made_up), "a new caller is served"
    assert quota.in_use == 875
    assert all(quota.take(f"customer-{number}") for number in range(100, 225))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 5))))
def test_quota_never_exceeds_its_limits_in_random_sequences(steps: list[tuple[str, int]]) -> None:
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


def test_an_amount_of_zero_changes_nothing() -> None:
    quota = quota_for_accepted(10, 3)
    assert [quota.take("a", 0), quota.take("a", 0)] == [True, True]
    for _ in range(2):
        quota.give_back("a", 0)
    assert quota.in_use == 0
