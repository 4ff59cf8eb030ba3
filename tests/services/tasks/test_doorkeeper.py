"""Doorkeeper: recognition of keys seen before, and false positives."""

from app.services.tasks.doorkeeper import Doorkeeper


def test_a_key_is_known_from_the_second_time_on() -> None:
    doorkeeper = Doorkeeper()
    assert doorkeeper.test_and_set(["a", "b"]) == [False, False]
    assert doorkeeper.test_and_set(["b", "a"]) == [True, True]
    assert doorkeeper.test_and_set([]) == []


def test_fewer_than_one_in_a_hundred_new_keys_are_taken_for_known() -> None:
    doorkeeper = Doorkeeper()
    known = doorkeeper.test_and_set([f"key-{number}" for number in range(200_000)])
    assert sum(known) < 2_000
