"""Doorkeeper: recognition of keys seen before, and false positives."""

from app.services.tasks.doorkeeper import SLOTS, Doorkeeper


def test_a_key_is_known_from_the_second_time_on() -> None:
    doorkeeper = Doorkeeper()
    assert doorkeeper.test_and_set(["a", "b"]) == [False, False]
    assert doorkeeper.test_and_set(["b", "a"]) == [True, True]
    assert doorkeeper.test_and_set([]) == []


def test_fewer_than_one_in_a_hundred_new_keys_are_taken_for_known() -> None:
    doorkeeper = Doorkeeper()
    known = doorkeeper.test_and_set([f"key-{number}" for number in range(200_000)])
    assert sum(known) < 2_000


def test_most_keys_are_forgotten_once_a_cache_of_five_thousand_would_have_evicted_them() -> None:
    doorkeeper = Doorkeeper()
    keys = [f"key-{number}" for number in range(4 * SLOTS)]
    doorkeeper.test_and_set(keys)
    assert sum(doorkeeper.test_and_set(keys)) < len(keys) // 10
    assert sum(doorkeeper.test_and_set(keys[-1_000:])) > 800
