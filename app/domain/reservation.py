"""What is known of a submission under an idempotency key, and what a call with the same key may do next."""

from dataclasses import dataclass, replace
from enum import StrEnum

HOLD_SECONDS = 15.0
"""How long a caller may take from reserving to sending; then it is taken for dead, and nothing was sent."""

SENDING_SECONDS = 60.0
"""How long a submission may be under way; then its sender is taken for dead, and the outcome for unknown."""

KEPT_SECONDS = 24 * 3600.0
"""How long a key is remembered."""


class ReservationState(StrEnum):
    """How far a submission has come."""

    HELD = "held"
    SENT = "sent"
    DONE = "done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reservation:
    """One submission under a key. `fingerprint` stands for tool and arguments, `holder` for the call that owns it.

    `filed_under` is where it is kept: one that is found elsewhere says nothing of what it was found under. `since` is
    when it came into this state (unix seconds); `task_id` is there once it is done, `ticket` from sending on where the
    backend was asked to call back.
    """

    filed_under: str
    fingerprint: str
    holder: str
    state: ReservationState
    since: float
    task_id: str | None = None
    ticket: str | None = None

    def sent(self, now: float, ticket: str | None) -> "Reservation":
        """Return it as of the moment before the first byte leaves, with the ticket that the backend is given."""
        return replace(self, state=ReservationState.SENT, since=now, ticket=ticket)

    def done(self, task_id: str, now: float) -> "Reservation":
        """Return it with the task that it became."""
        return replace(self, state=ReservationState.DONE, task_id=task_id, since=now)

    def unknown(self, now: float) -> "Reservation":
        """Return it with an outcome that nobody can tell."""
        return replace(self, state=ReservationState.UNKNOWN, since=now)


class Verdict(StrEnum):
    """What a call that finds a reservation under its key is to do."""

    REPLAY = "replay"
    """Answer with the first call's task."""
    WAIT = "wait"
    """Look again in a moment: the first call is under way."""
    TAKE_OVER = "take_over"
    """Reserve anew: the first call ended before it sent anything, or its unknown outcome is accepted."""
    OTHER_ARGUMENTS = "other_arguments"
    """Refuse: the key stands for something else."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    """Refuse: sending again might buy a second video."""


def verdict(found: Reservation, fingerprint: str, now: float, *, retry_unknown: bool) -> Verdict:
    """Return what a call with `fingerprint` may do that finds `found` at `now` (unix seconds)."""
    if found.fingerprint != fingerprint:
        return Verdict.OTHER_ARGUMENTS
    if found.state is ReservationState.DONE:
        return Verdict.REPLAY
    if found.state is ReservationState.HELD:
        return Verdict.TAKE_OVER if now - found.since > HOLD_SECONDS else Verdict.WAIT
    if found.state is ReservationState.SENT and now - found.since <= SENDING_SECONDS:
        return Verdict.WAIT
    return Verdict.TAKE_OVER if retry_unknown else Verdict.OUTCOME_UNKNOWN
