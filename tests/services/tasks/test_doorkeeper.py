"""What comes again is told from what comes once."""

from app.services.tasks.doorkeeper import Doorkeeper


def test_a_key_is_known_from_its_second_time_on() -> None:
    door = Doorkeeper()
    assert door.knows(["a", "b"]) == [False, False]
    assert door.knows(["b", "a"]) == [True, True]
    assert door.knows([]) == []


def test_few_of_many_new_keys_are_taken_for_known() -> None:
    door = Doorkeeper()
    known = door.knows([f"key-{number}" for number in range(200_000)])
    assert sum(known) < 2_000
