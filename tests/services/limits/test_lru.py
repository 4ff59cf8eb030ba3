"""A dict that stays within a weight."""

from hypothesis import given
from hypothesis import strategies as st

from app.services.limits.lru import LruDict


def test_bounded_lets_the_least_recently_used_entry_go() -> None:
    kept: LruDict[str, int] = LruDict(2)
    kept["a"], kept["b"] = 1, 2
    kept.touch(["a"])
    kept["c"] = 3
    assert list(kept) == ["a", "c"]


def test_bounded_keeps_nothing_that_is_heavier_than_everything_may_be() -> None:
    kept: LruDict[str, bytes] = LruDict(10, len)
    kept["a"] = b"12345"
    kept["b"] = b"x" * 11
    assert "b" not in kept
    assert kept.weight <= 10


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.binary(max_size=12))))
def test_bounded_never_weighs_more_than_allowed(steps: list[tuple[str, bytes | None]]) -> None:
    kept: LruDict[str, bytes] = LruDict(20, len)
    for key, value in steps:
        if value is None:
            kept.discard(key)
        else:
            kept[key] = value
        assert kept.weight == sum(map(len, kept.values())) <= 20


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_bounded_counts_entries_without_a_value_once(steps: list[tuple[str, bool]]) -> None:
    kept: LruDict[str, None] = LruDict(2)
    for key, is_kept in steps:
        if is_kept:
            kept[key] = None
        else:
            kept.discard(key)
        assert kept.weight == len(kept) <= 2
