"""One submission of a paid command: its states, and what a call that repeats its idempotency key may do."""

from dataclasses import dataclass
from enum import StrEnum

SENDING_SECONDS = 60.0
"""The longest that a submission takes, the wait for a free place among them. An older one has lost its sender."""


class PurchaseState(StrEnum):
    """The states of a purchase. A purchase is recorded as `sent` before the first byte of it leaves."""

    SENT = "sent"
    """Under way; after `SENDING_SECONDS` its sender is taken for dead, and its outcome for unknown."""
    STARTED = "started"
    """The backend answered with a task id."""
    REFUSED = "refused"
    """Nothing was started, for certain. The key is free again."""
    UNKNOWN = "unknown"
    """The answer was lost: a video may have been started and charged."""


ALLOWED_MOVES = {
    PurchaseState.SENT: (PurchaseState.STARTED, PurchaseState.REFUSED, PurchaseState.UNKNOWN),
    PurchaseState.UNKNOWN: (PurchaseState.STARTED,),
    PurchaseState.STARTED: (),
    PurchaseState.REFUSED: (),
}
"""The one table of moves. An unknown outcome is only ever cleared up by the task that it became."""


@dataclass(frozen=True, slots=True)
class NewPurchase:
    """A purchase before it is recorded.

    Attributes:
        attempt: random name of this submission, 32 hex digits.
        owner: digest of the caller to whom the purchase belongs.
        action: what was asked for, `generate` or `extend`.
        request_hash: keyed digest of the tool and its arguments.
        key_hash: keyed digest of the idempotency key; None without one.
        callback_id: keyed digest of the callback's ticket; None where the backend is not asked to call back.

    """

    attempt: str
    owner: str
    action: str
    request_hash: str
    key_hash: str | None = None
    callback_id: str | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """A recorded purchase; times are unix seconds by the database's clock.

    Attributes:
        key_hash: None where there was no key, and after the key was set free.
        task_id: the task that it became; None in every state but `started`.
        age_seconds: time since the last change of state, when it was read.

    """

    attempt: str
    owner: str
    action: str
    request_hash: str
    key_hash: str | None
    callback_id: str | None
    state: PurchaseState
    task_id: str | None
    created_at: float
    changed_at: float
    age_seconds: float


class Decision(StrEnum):
    """The next step of a call whose idempotency key belongs to an earlier purchase."""

    REPLAY = "replay"
    """Answer with the earlier purchase's task."""
    WAIT = "wait"
    """Look again in a moment: the earlier call is under way."""
    TAKE_OVER = "take_over"
    """Buy: the earlier purchase no longer holds the key."""
    OTHER_ARGUMENTS = "other_arguments"
    """Refuse: the key stands for something else."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    """Refuse: to send again might buy a second video."""


def decide(earlier: Purchase, request_hash: str, key_lives_seconds: float) -> Decision:
    """Return what a call with `request_hash` does after `earlier`, which holds its key.

    A key is remembered for `key_lives_seconds` from the first record of its purchase.
    """
    if earlier.state is PurchaseState.REFUSED or _has_expired(earlier, key_lives_seconds):
        return Decision.TAKE_OVER
    if earlier.request_hash != request_hash:
        return Decision.OTHER_ARGUMENTS
    if earlier.state is PurchaseState.STARTED:
        return Decision.REPLAY
    if earlier.state is PurchaseState.SENT and earlier.age_seconds <= SENDING_SECONDS:
        return Decision.WAIT
    return Decision.OUTCOME_UNKNOWN


def _has_expired(earlier: Purchase, key_lives_seconds: float) -> bool:
    return earlier.changed_at + earlier.age_seconds - earlier.created_at > key_lives_seconds
