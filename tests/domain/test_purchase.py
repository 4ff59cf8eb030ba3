"""decide: the next step of a call whose idempotency key belongs to an earlier purchase."""

import pytest

from app.domain.purchase import SENDING_SECONDS, Decision, Purchase, PurchaseState, decide

DAY = 86_400.0
STARTED, REFUSED, UNKNOWN, SENT = (
    PurchaseState.STARTED,
    PurchaseState.REFUSED,
    PurchaseState.UNKNOWN,
    PurchaseState.SENT,
)


def earlier(state: PurchaseState, age_seconds: float) -> Purchase:
    return Purchase(
        owner="owner",
        attempt="attempt",
        action="generate",
        request_hash="same",
        callback_id=None,
        state=state,
        task_id="task-1" if state is STARTED else None,
        created_at=1000.0,
        changed_at=1000.0,
        age_seconds=age_seconds,
    )


@pytest.mark.parametrize(
    ("state", "age_seconds", "same", "other"),
    [
        (STARTED, 1.0, Decision.REPLAY, Decision.OTHER_ARGUMENTS),
        (STARTED, DAY, Decision.REPLAY, Decision.OTHER_ARGUMENTS),
        (STARTED, DAY + 1, Decision.TAKE_OVER, Decision.TAKE_OVER),
        (REFUSED, 1.0, Decision.TAKE_OVER, Decision.TAKE_OVER),
        (SENT, SENDING_SECONDS, Decision.WAIT, Decision.OTHER_ARGUMENTS),
        (SENT, SENDING_SECONDS + 1, Decision.OUTCOME_UNKNOWN, Decision.OTHER_ARGUMENTS),
        (SENT, DAY + 1, Decision.OUTCOME_UNKNOWN, Decision.TAKE_OVER),
        (UNKNOWN, 1.0, Decision.OUTCOME_UNKNOWN, Decision.OTHER_ARGUMENTS),
        (UNKNOWN, 80 * DAY, Decision.OUTCOME_UNKNOWN, Decision.TAKE_OVER),
    ],
)
def test_decide_by_state_age_and_request(
    state: PurchaseState, age_seconds: float, same: Decision, other: Decision
) -> None:
    assert decide(earlier(state, age_seconds), ["same"], DAY) is same
    assert decide(earlier(state, age_seconds), ["other"], DAY) is other
