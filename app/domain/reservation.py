"""What is known of a submission under an idempotency key, and what a call with the same key may do next."""

from dataclasses import dataclass, replace
from enum import StrEnum

HOLD_SECONDS = 2.0
"""How long a caller may take from reserving to sending, with an operation of the store in between.

Then it is taken for dead, or for one that was told that the store did not answer, though it did in the end. One that
is only slow finds its hold gone, and sends nothing.
"""

LATER_SECONDS = 0.001
"""By how much a word that takes the place of another is later at the least, whatever the clocks of two replicas say."""

SENDING_SECONDS = 60.0
"""How long a submission may be under way; then its sender is taken for dead, and the outcome for unknown."""

KEPT_SECONDS = 24 * 3600.0
"""How long a key is remembered."""

FREED_KEPT_SECONDS = 600.0
"""How long a key under which nothing was bought is remembered: longer than its call and those beside it can last."""

FREED_KEPT_ALONE_SECONDS = 1.0
"""The same in a process that shares nothing: no replica has to be told, and strangers could fill its memory."""


class ReservationState(StrEnum):
    """How far a submission has come."""

    HELD = "held"
    SENT = "sent"
    DONE = "done"
    UNKNOWN = "unknown"
    FREED = "freed"
    """Nothing was bought, for certain: a word of its own, so that a key without any is one that was forgotten."""


_ORDER = (
    ReservationState.HELD,
    ReservationState.SENT,
    ReservationState.UNKNOWN,
    ReservationState.FREED,
    ReservationState.DONE,
)
"""How one holder's words follow each other."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """One submission under a key. `fingerprint` stands for tool and arguments, `holder` for the call that owns it.

    `filed_under` is where it is kept: one that is found elsewhere says nothing of what it was found under. `since` is
    when it came into this state (unix seconds), or was held, if it was given up; `task_id` is there once it is done,
    `ticket` from sending on where the backend was asked to call back. `after_unknown` says that it took the place of an
    outcome that nobody can tell.
    """

    filed_under: str
    fingerprint: str
    holder: str
    state: ReservationState
    since: float
    task_id: str | None = None
    ticket: str | None = None
    after_unknown: bool = False

    @property
    def is_under_way(self) -> bool:
        """Whether its age decides what may be done: its holder may still be at work."""
        return self.state in _UNDER_WAY_SECONDS

    def in_place_of(self, found: "Reservation", now: float) -> "Reservation":
        """Return it as what takes the place of `found`: what nobody can tell of that stays in mind, with its ticket."""
        later = replace(self, since=max(now, found.since + LATER_SECONDS))
        held = found.state is ReservationState.HELD
        told_all = found.state is ReservationState.FREED or (held and not found.after_unknown)
        return later if told_all else replace(later, ticket=found.ticket, after_unknown=True)

    def sent(self, now: float, ticket: str | None) -> "Reservation":
        """Return it as of the moment before the first byte leaves, with the ticket that the backend is given."""
        return replace(self, state=ReservationState.SENT, since=max(now, self.since), ticket=ticket)

    def done(self, task_id: str, now: float) -> "Reservation":
        """Return it with the task that it became."""
        return replace(self, state=ReservationState.DONE, task_id=task_id, since=max(now, self.since))

    def unknown(self, now: float) -> "Reservation":
        """Return it with an outcome that nobody can tell."""
        return replace(self, state=ReservationState.UNKNOWN, since=max(now, self.since))

    def given_up(self) -> "Reservation":
        """Return it with nothing bought: the key is free again, or as unknown as it was before.

        It is as old as the hold: it says nothing of those who have taken its place since.
        """
        state = ReservationState.UNKNOWN if self.after_unknown else ReservationState.FREED
        return replace(self, state=state)

    def prevails_over(self, other: "Reservation") -> bool:
        """Whether this is the later of two words on one key, so that whoever holds the other has forgotten this one.

        Where one of two holders has sent something, the other's word that nothing was sent never prevails, however late
        it is: only who sent can say that nothing was bought.
        """
        if self.holder == other.holder:
            return _ORDER.index(self.state) > _ORDER.index(other.state)
        if (self.state in _NOTHING_SENT) is not (other.state in _NOTHING_SENT):
            return other.state in _NOTHING_SENT
        if ReservationState.HELD in (self.state, other.state):  # a hold is in order where the key was free
            return other.state is ReservationState.HELD and self.state is not ReservationState.FREED
        return self.since > other.since


def unreadable(filed_under: str) -> Reservation:
    """Return what stands for a word that cannot be read: nobody can rule out that something was bought."""
    return Reservation(filed_under, "", "", ReservationState.UNKNOWN, 0.0)


_NOTHING_SENT = frozenset({ReservationState.HELD, ReservationState.FREED})

_UNDER_WAY_SECONDS = {ReservationState.HELD: HOLD_SECONDS, ReservationState.SENT: SENDING_SECONDS}


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


def verdict(found: Reservation, fingerprint: str, age_seconds: float, *, retry_unknown: bool) -> Verdict:
    """Return what a call with `fingerprint` may do that finds `found`, which was said so many seconds ago."""
    if found.state is ReservationState.FREED:
        return Verdict.TAKE_OVER
    if found.fingerprint not in ("", fingerprint):
        return Verdict.OTHER_ARGUMENTS
    if found.state is ReservationState.DONE:
        return Verdict.REPLAY
    if found.is_under_way and age_seconds <= _UNDER_WAY_SECONDS[found.state]:
        return Verdict.WAIT
    nothing_was_sent = found.state is ReservationState.HELD and not found.after_unknown
    return Verdict.TAKE_OVER if nothing_was_sent or retry_unknown else Verdict.OUTCOME_UNKNOWN
