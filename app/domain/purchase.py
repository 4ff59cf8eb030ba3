"""One submission of a paid command: its states, and what a call that repeats its idempotency key may do."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

SENDING_SECONDS = 60.0
"""The longest that a submission takes, the wait for a free place among them. An older one has lost its sender."""

OTHER_ARGUMENTS = (
    "This `idempotency_key` was used before for another tool or other arguments. Use a new key for a new "
    "video, or repeat the first call exactly."
)
UNKNOWN_BEFORE = (
    "An earlier call with this `idempotency_key` got no answer that tells its outcome, so a video may have been "
    "started and charged. This key will not buy again unless the call carries `retry_unknown: true`; ask the user "
    "first."
)


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


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """How an idempotency key is named in the database: by digests under one secret key of the service.

    Attributes:
        owner: digest of the caller to whom the key belongs.
        key_hash: digest of the key.
        request_hash: digest of the tool and the arguments that the key stands for.

    """

    owner: str
    key_hash: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class NewPurchase:
    """A purchase before it is recorded.

    Attributes:
        attempt: random name of this submission, 32 hex digits.
        owner: digest of the caller to whom the purchase belongs.
        action: what was asked for, `generate` or `extend`.
        request_hash: digest of the tool and its arguments, under the current secret key.
        keys: the names of the idempotency key, the current one first; none without a key.
        callback_id: digest of the callback's ticket; None where the backend is not asked to call back.
        member: who of the owner's team has bought; None outside of teams.

    """

    attempt: str
    owner: str
    action: str
    request_hash: str
    keys: tuple[KeyName, ...] = ()
    callback_id: str | None = None
    member: str | None = None

    @property
    def caller(self) -> str:
        """Return who has bought: the member, else the owner."""
        return self.member or self.owner


@dataclass(frozen=True, slots=True)
class Purchase:
    """A recorded purchase; times are unix seconds by the database's clock.

    Attributes:
        request_hash: digest under the secret key of the name by which it was found, if by one.
        task_id: the task that it became; None in every state but `started`.
        age_seconds: time since the last change of state, when it was read.

    """

    attempt: str
    owner: str
    action: str
    request_hash: str
    callback_id: str | None
    state: PurchaseState
    task_id: str | None
    created_at: float
    changed_at: float
    age_seconds: float

    @property
    def outcome(self) -> PurchaseState:
        """Return the state, or `unknown` for a submission that lost its sender."""
        is_lost = self.state is PurchaseState.SENT and self.age_seconds > SENDING_SECONDS
        return PurchaseState.UNKNOWN if is_lost else self.state


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


def decide(earlier: Purchase, request_hashes: Collection[str], key_lives_seconds: float) -> Decision:
    """Return what a call, whose request any of `request_hashes` stands for, does after `earlier`, which holds its key.

    A key is remembered for `key_lives_seconds` from the first record of its purchase. An unknown outcome is remembered
    for as long as its record exists: the same request does not buy again.
    """
    is_same = earlier.request_hash in request_hashes
    may_have_bought = earlier.state in {PurchaseState.SENT, PurchaseState.UNKNOWN}
    if earlier.state is PurchaseState.REFUSED:
        return Decision.TAKE_OVER
    if _has_expired(earlier, key_lives_seconds) and not (is_same and may_have_bought):
        return Decision.TAKE_OVER
    if not is_same:
        return Decision.OTHER_ARGUMENTS
    if earlier.outcome is PurchaseState.STARTED:
        return Decision.REPLAY
    if earlier.outcome is PurchaseState.SENT:
        return Decision.WAIT
    return Decision.OUTCOME_UNKNOWN


def _has_expired(earlier: Purchase, key_lives_seconds: float) -> bool:
    return earlier.changed_at + earlier.age_seconds - earlier.created_at > key_lives_seconds
