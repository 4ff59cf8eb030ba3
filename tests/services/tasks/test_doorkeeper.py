"""What comes again is told from what comes once."""

from app.services.tasks.doorkeeper import Doorkeeper


def test_a_key_is_known_from_its_second_time_on() -> None:
    call_handler = Doorkeeper()
    assert call_handler.knows(["a", "b"]) == [False, False]
    assert call_handler.knows(["b", "a"]) == [True, True]
    assert call_handler.knows([]) == []


def test_few_of_many_new_keys_are_taken_for_known() -> None:
    call_handler = Doorkeeper()
    known = call_handler.knows([f"key-{number}" for number in range(200_000)])
    assert sum(known) < 2_000
