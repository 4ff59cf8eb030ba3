"""Doorkeeper: recognises keys seen before."""

from app.services.tasks.doorkeeper import Doorkeeper


def test_knows_returns_true_from_the_second_time_a_key_is_seen() -> None:
    doorkeeper = Doorkeeper()
    assert doorkeeper.knows(["a", "b"]) == [False, False]
    assert doorkeeper.knows(["b", "a"]) == [True, True]
    assert doorkeeper.knows([]) == []


def test_knows_mistakes_fewer_than_one_in_a_hundred_new_keys() -> None:
    doorkeeper = Doorkeeper()
    known = doorkeeper.knows([f"key-{number}" for number in range(200_000)])
    assert sum(known) < 2_000
