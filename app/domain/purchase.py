"""Purchases (submissions of paid commands), their states, and the rules for a repeated idempotency key."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from app.domain.budget import Charge

SENDING_SECONDS = 60.0
"""Longest duration of a submission, including its time in the queue. After it, the sender is presumed dead."""

OTHER_ARGUMENTS = (
    "This `idempotency_key` was used before for another tool or other arguments. Use a new key for a new "
    "video, or repeat the first call exactly."
)
UNKNOWN_BEFORE = (
    "The outcome of an earlier call with this `idempotency_key` is unknown, so a video may have been started and "
    "charged. This key will not buy again unless the call carries `retry_unknown: true`; ask the user first."
)


class PurchaseState(StrEnum):
    """The states of a purchase. A purchase is recorded as `sent` before the first byte of the submission is sent."""

    SENT = "sent"
    """In flight. After `SENDING_SECONDS` the sender is presumed dead and the outcome unknown."""
    STARTED = "started"
    """The backend answered with a task id."""
    REFUSED = "refused"
    """Nothing was started. The key is free again."""
    UNKNOWN = "unknown"
    """The answer was lost: a video may have been started and charged."""


ALLOWED_MOVES = {
    PurchaseState.SENT: (PurchaseState.STARTED, PurchaseState.REFUSED, PurchaseState.UNKNOWN),
    PurchaseState.UNKNOWN: (PurchaseState.STARTED,),
    PurchaseState.STARTED: (),
    PurchaseState.REFUSED: (),
}
"""Allowed transitions. An unknown outcome changes only when its task is found."""


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """The form of an idempotency key in the database: digests under one secret key of the service.

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
        attempt: random id of this submission, 32 hex digits.
        owner: digest of the caller to whom the purchase belongs.
        action: the kind of command, `generate` or `extend`.
        request_hash: digest of the tool and its arguments, under the current secret key.
        keys: the forms of the idempotency key under each secret key, starting with the current one; empty if the call
            has no idempotency key.
        callback_id: hash of the nonce in the callback URL; None without a callback of this service.
        charge: the cost of the purchase for its team; None outside of teams.

    """

    attempt: str
    owner: str
    action: str
    request_hash: str
    keys: tuple[KeyName, ...] = ()
    callback_id: str | None = None
    charge: Charge | None = None

    @property
    def member(self) -> str | None:
        """The team member who buys; None outside of teams."""
        return None if self.charge is None else self.charge.spender.member

    @property
    def caller(self) -> str:
        """The buyer: the member, else the owner."""
        return self.member or self.owner


@dataclass(frozen=True, slots=True)
class Purchase:
    """A recorded purchase. Times are unix seconds by the database's clock.

    Attributes:
        request_hash: digest of the tool and its arguments. If the purchase was found by an idempotency key, the digest
            is under the same secret key as the KeyName that matched.
        task_id: the task that was started; None in every state except `started`, and if the stored id is not valid.
        age_seconds: time since the last change of state, at the time of the read.
        member_name: name of the team member who bought; None outside of teams, and if the name was not read.

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
    member_name: str | None = None

    @property
    def outcome(self) -> PurchaseState:
        """The state, or `unknown` if the state is `sent` and the sender is presumed dead."""
        is_lost = self.state is PurchaseState.SENT and self.age_seconds > SENDING_SECONDS
        return PurchaseState.UNKNOWN if is_lost else self.state


class Decision(StrEnum):
    """The next step of a call whose idempotency key belongs to an earlier purchase."""

    REPLAY = "replay"
    """Return the earlier purchase's task."""
    WAIT = "wait"
    """Read the purchase again in a moment: the earlier call is in flight."""
    TAKE_OVER = "take_over"
    """Buy: the earlier purchase no longer holds the key."""
    OTHER_ARGUMENTS = "other_arguments"
    """Refuse: the earlier call had another tool or other arguments."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    """Refuse: another submission might buy a second video."""


def decide(earlier: Purchase, request_hashes: Collection[str], key_lives_seconds: float) -> Decision:
    """Return the next step of a call whose idempotency key is held by `earlier`.

    `request_hashes` are the digests of the call's request, one for each secret key. A key expires `key_lives_seconds`
    after its purchase was recorded. If the outcome may be unknown, the key does not expire for the same request, so
    this request does not buy again while the purchase is in the database.
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
