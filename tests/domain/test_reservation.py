"""What a second call with the same key may do: the whole table."""

import pytest

from app.domain.reservation import (
    HOLD_SECONDS,
    SENDING_SECONDS,
    Reservation,
    ReservationState,
    Verdict,
    unreadable,
    verdict,
)

HELD, SENT, DONE, UNKNOWN, FREED = ReservationState
NOW = 1000.0

TABLE = [
    (HELD, 0.0, False, Verdict.WAIT),
    (HELD, HOLD_SECONDS, False, Verdict.WAIT),
    (HELD, HOLD_SECONDS + 1, False, Verdict.TAKE_OVER),
    (HELD, 0.0, True, Verdict.WAIT),
    (SENT, 0.0, False, Verdict.WAIT),
    (SENT, 0.0, True, Verdict.WAIT),
    (SENT, SENDING_SECONDS, False, Verdict.WAIT),
    (SENT, SENDING_SECONDS + 1, False, Verdict.OUTCOME_UNKNOWN),
    (SENT, SENDING_SECONDS + 1, True, Verdict.TAKE_OVER),
    (UNKNOWN, 0.0, False, Verdict.OUTCOME_UNKNOWN),
    (UNKNOWN, 0.0, True, Verdict.TAKE_OVER),
    (DONE, 0.0, False, Verdict.REPLAY),
    (DONE, 80_000.0, True, Verdict.REPLAY),
    (FREED, 0.0, False, Verdict.TAKE_OVER),
    (FREED, 80_000.0, True, Verdict.TAKE_OVER),
]


@pytest.mark.parametrize(("state", "age", "retry_unknown", "expected"), TABLE)
def test_the_table(state: ReservationState, age: float, *, retry_unknown: bool, expected: Verdict) -> None:
    found = Reservation("filed", "print", "holder", state, NOW - age, "task" if state is DONE else None)
    assert verdict(found, "print", age, retry_unknown=retry_unknown) is expected


@pytest.mark.parametrize("state", [HELD, SENT, DONE, UNKNOWN])
def test_other_arguments_are_never_served(state: ReservationState) -> None:
    found = Reservation("filed", "print", "holder", state, NOW)
    assert verdict(found, "another", 0.0, retry_unknown=True) is Verdict.OTHER_ARGUMENTS


def test_a_key_that_was_freed_may_be_used_for_something_else() -> None:
    freed = Reservation("filed", "print", "holder", FREED, NOW)
    assert verdict(freed, "another", 0.0, retry_unknown=False) is Verdict.TAKE_OVER


@pytest.mark.parametrize(("retry_unknown", "expected"), [(False, Verdict.OUTCOME_UNKNOWN), (True, Verdict.TAKE_OVER)])
def test_a_hold_over_an_unknown_outcome_leaves_it_unknown(*, retry_unknown: bool, expected: Verdict) -> None:
    unknown = Reservation("filed", "print", "holder", UNKNOWN, NOW - 100, ticket="first")
    held = Reservation("filed", "print", "other", HELD, NOW - 50).in_place_of(unknown, NOW - HOLD_SECONDS - 1)
    assert (held.after_unknown, held.ticket) == (True, "first")
    assert verdict(held, "print", HOLD_SECONDS + 1, retry_unknown=retry_unknown) is expected
    assert held.given_up().state is UNKNOWN, "a definite no says nothing of the first"


@pytest.mark.parametrize("state", [FREED, HELD])
def test_a_hold_over_nothing_bought_is_like_any_other(state: ReservationState) -> None:
    held = Reservation("filed", "print", "other", HELD, NOW)
    assert held.in_place_of(Reservation("filed", "print", "holder", state, NOW - 100), NOW) == held
    assert held.given_up().state is FREED


@pytest.mark.parametrize("state", [HELD, FREED, UNKNOWN, SENT])
def test_what_takes_the_place_of_a_word_is_later_whatever_the_clocks_say(state: ReservationState) -> None:
    found = Reservation("filed", "print", "holder", state, NOW + 30)
    taken = Reservation("filed", "print", "other", HELD, NOW).in_place_of(found, NOW)
    for word in (taken.sent(NOW, None), taken.sent(NOW, None).done("task", NOW), taken.sent(NOW, None).unknown(NOW)):
        assert word.prevails_over(found)
        assert not found.prevails_over(word)


def test_a_hold_that_was_given_up_says_nothing_of_those_who_came_after() -> None:
    held = Reservation("filed", "print", "holder", HELD, NOW)
    other = Reservation("filed", "print", "other", HELD, NOW).in_place_of(held, NOW + HOLD_SECONDS + 1)
    for word in (other.sent(NOW + 4, None), other.sent(NOW + 4, None).done("task", NOW + 5)):
        assert word.prevails_over(held.given_up())
        assert not held.given_up().prevails_over(word)


def test_a_word_that_cannot_be_read_may_have_bought_anything() -> None:
    assert verdict(unreadable("filed"), "print", 0.0, retry_unknown=False) is Verdict.OUTCOME_UNKNOWN
    assert Reservation("filed", "print", "holder", DONE, NOW, "task").prevails_over(unreadable("filed"))


@pytest.mark.parametrize("later", range(1, 5))
def test_words_of_one_holder_follow_each_other_whatever_the_clocks_say(later: int) -> None:
    words = [HELD, SENT, UNKNOWN, FREED, DONE]
    for earlier in range(later):
        old = Reservation("filed", "print", "holder", words[earlier], NOW)
        new = Reservation("filed", "print", "holder", words[later], NOW - 5)
        assert new.prevails_over(old)
        assert not old.prevails_over(new)
        assert not new.prevails_over(new)


@pytest.mark.parametrize(
    ("word", "other", "expected"),
    [
        (DONE, HELD, True),  # made where the store had forgotten the first
        (SENT, HELD, True),
        (UNKNOWN, HELD, True),
        (FREED, HELD, False),  # in order
        (DONE, SENT, False),  # bought again, by somebody who accepted that
        (FREED, DONE, False),
    ],
)
def test_an_earlier_word_of_another_holder_prevails_only_over_a_hold(
    word: ReservationState, other: ReservationState, *, expected: bool
) -> None:
    first, second = (Reservation("filed", "print", "a", word, NOW), Reservation("filed", "print", "b", other, NOW + 9))
    assert first.prevails_over(second) is expected


@pytest.mark.parametrize("sent", [SENT, UNKNOWN, DONE])
@pytest.mark.parametrize("nothing_sent", [HELD, FREED])
def test_a_word_that_nothing_was_sent_never_prevails_over_what_another_holder_sent(
    sent: ReservationState, nothing_sent: ReservationState
) -> None:
    mine, other = Reservation("filed", "print", "a", sent, NOW), Reservation("filed", "print", "b", nothing_sent, 9e9)
    assert mine.prevails_over(other)
    assert not other.prevails_over(mine)


def test_of_two_that_bought_the_later_one_prevails() -> None:
    first, second = Reservation("filed", "print", "a", DONE, NOW), Reservation("filed", "print", "b", DONE, NOW + 9)
    assert second.prevails_over(first)
    assert not first.prevails_over(second)


def test_a_reservation_moves_through_its_states() -> None:
    held = Reservation("filed", "print", "holder", HELD, 1.0)
    sent = held.sent(2.0, "ticket")
    assert (sent.state, sent.since, sent.ticket) == (SENT, 2.0, "ticket")
    done = sent.done("task", 3.0)
    assert (done.state, done.since, done.task_id, done.ticket) == (DONE, 3.0, "task", "ticket")
    assert (sent.unknown(4.0).state, sent.unknown(4.0).since) == (UNKNOWN, 4.0)
