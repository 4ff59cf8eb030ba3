"""What a second call with the same key may do: the whole table."""

import pytest

from app.domain.reservation import (
    HOLD_SECONDS,
    SENDING_SECONDS,
    Reservation,
    ReservationState,
    Verdict,
    verdict,
)

HELD, SENT, DONE, UNKNOWN = ReservationState
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
]


@pytest.mark.parametrize(("state", "age", "retry_unknown", "expected"), TABLE)
def test_the_table(state: ReservationState, age: float, *, retry_unknown: bool, expected: Verdict) -> None:
    found = Reservation("filed", "print", "holder", state, NOW - age, "task" if state is DONE else None)
    assert verdict(found, "print", NOW, retry_unknown=retry_unknown) is expected


@pytest.mark.parametrize("state", list(ReservationState))
def test_other_arguments_are_never_served(state: ReservationState) -> None:
    found = Reservation("filed", "print", "holder", state, NOW)
    assert verdict(found, "another", NOW, retry_unknown=True) is Verdict.OTHER_ARGUMENTS


def test_a_reservation_moves_through_its_states() -> None:
    held = Reservation("filed", "print", "holder", HELD, 1.0)
    sent = held.sent(2.0, "ticket")
    assert (sent.state, sent.since, sent.ticket) == (SENT, 2.0, "ticket")
    done = sent.done("task", 3.0)
    assert (done.state, done.since, done.task_id, done.ticket) == (DONE, 3.0, "task", "ticket")
    assert (sent.unknown(4.0).state, sent.unknown(4.0).since) == (UNKNOWN, 4.0)
