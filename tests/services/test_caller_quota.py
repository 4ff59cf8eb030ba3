"""What callers hold at once, bounded for each and for all."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import RateLimited
from app.services.caller_quota import CallerQuota


def test_quota_refuses_one_caller_and_serves_the_others() -> None:
    quota = CallerQuota(total=10, per_caller=3)
    assert [quota.take("a") for _ in range(4)] == [True, True, True, False]
    assert quota.take("b")


def test_quota_refuses_everyone_when_all_of_it_is_lent() -> None:
    quota = CallerQuota(total=3, per_caller=2)
    assert [quota.take("a"), quota.take("a"), quota.take("b"), quota.take("c")] == [True, True, True, False]
    quota.give_back("a")
    assert quota.take("c")


def test_a_place_is_given_back_whatever_ends_it() -> None:
    quota = CallerQuota(total=1, per_caller=1)
    with pytest.raises(KeyError), quota.place("a", "No."):
        raise KeyError
    with quota.place("a", "No."):
        with pytest.raises(RateLimited, match="Full") as refused, quota.place("a", "Full."):
            pass
        assert refused.value.retry_after_seconds == 5.0
    assert quota.in_use == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 5))))
def test_quota_never_lends_more_than_it_has(steps: list[tuple[str, int]]) -> None:
    quota, held = CallerQuota(total=12, per_caller=6), Counter[str]()
    for owner, amount in steps:
        if amount > 0 and quota.take(owner, amount):
            held[owner] += amount
        elif amount < 0 and held[owner] >= -amount:
            quota.give_back(owner, -amount)
            held[owner] += amount
        assert quota.in_use == held.total() <= 12
        assert max(held.values(), default=0) <= 6
