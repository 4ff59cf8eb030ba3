"""Every purchase of a crowd, with all that was said of it, held against what the backend was truly asked to make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.purchase import SENDING_SECONDS, UNKNOWN_BEFORE
from app.services.purchases.idempotency import REFUSED_WITHOUT_DATABASE, STILL_UNDER_WAY
from tests.faults.calls import Fate, Reply
from tests.faults.score import Score
from tests.faults.terms import Terms, Window

WITHOUT_DATABASE = "keys cannot be checked"
UNDER_WAY = "another is under way"
UNKNOWN = "outcome unknown"
LEFT = "left before the answer"
TAKEN = "taken"

_DEFINITE = frozenset({WITHOUT_DATABASE, "rate_limited", "unauthorized", "backend_error", "invalid_request"})
"""What tells the caller that nothing was bought."""

_TOLD_ELSEWHERE = frozenset({TAKEN, LEFT, Fate.UNREACHED.value, Fate.SILENT.value, Fate.UNFIT.value})
"""What is held against the book, or was counted when it happened."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of sending a purchase once; `outcome` is one of the words above, a Fate, or an error code."""

    started: float
    ended: float
    outcome: str
    task_id: str = ""
    is_replay: bool = False
    words: str = ""

    def own_seconds(self, others: Sequence["Attempt"]) -> float:
        """Return how long this one took since it had nobody of `others` to wait for any more.

        What was cut off, or left, may be under way all the same, for as long as the service gives a submission.
        """
        waited_until = [self.started]
        for other in others:
            if other.outcome in (Fate.CUT, LEFT):
                waited_until.append(min(other.started + SENDING_SECONDS, self.ended))
            elif other.outcome != Fate.UNREACHED and other.ended < self.ended:
                waited_until.append(other.ended)
        return self.ended - max(waited_until)


@dataclass(slots=True)
class Purchase:
    """A video to be bought once, and what became of each attempt. Without a key it is sent once."""

    token: str
    prompt: str
    key: str | None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def arguments(self) -> dict[str, Any]:
        """What the tool is called with."""
        return {"prompt": self.prompt} | ({} if self.key is None else {"idempotency_key": self.key})

    @property
    def task_ids(self) -> set[str]:
        """The tasks that callers were told it became."""
        return {attempt.task_id for attempt in self.attempts if attempt.outcome == TAKEN}

    def note(self, reply: Reply) -> Attempt:
        """Keep what became of an attempt, and return it."""
        taken = reply.fate is Fate.ANSWERED and reply.error is None
        outcome = TAKEN if taken else reply.fate.value if reply.error is None else _refusal(reply.error)
        task_id, is_replay = str(reply.result.get("task_id", "")), reply.result.get("replayed") is True
        words = reply.words or str((reply.error or {}).get("message", ""))
        self.attempts.append(Attempt(reply.started, reply.ended, outcome, task_id, is_replay, words))
        return self.attempts[-1]


def _refusal(error: Mapping[str, Any]) -> str:
    message = str(error["message"])
    if REFUSED_WITHOUT_DATABASE in message:
        return WITHOUT_DATABASE
    if STILL_UNDER_WAY in message:
        return UNDER_WAY
    if UNKNOWN_BEFORE in message or "nobody can tell" in message:
        return UNKNOWN
    return str(error["code"])


@dataclass(frozen=True, slots=True)
class Judge:
    """Holds purchases against the backend's book, by what the fault excuses and when."""

    terms: Terms
    window: Window
    score: Score

    def all(self, purchases: Sequence[Purchase], book: Mapping[str, Sequence[str]]) -> None:
        """Count what was bought twice, what is not so, and what was turned down without an excuse."""
        for purchase in purchases:
            held = book.get(f"{purchase.token} {purchase.prompt}", ())
            self._hold_against(purchase, held)
            for number, attempt in enumerate(purchase.attempts):
                self._time(attempt, purchase.attempts)
                if attempt.outcome == Fate.CUT:
                    self._excuse_cut(attempt, purchase, held)
                elif attempt.outcome not in _TOLD_ELSEWHERE:
                    self._excuse(attempt, purchase.attempts[:number])

    def _hold_against(self, purchase: Purchase, held: Sequence[str]) -> None:
        if len(held) > 1:
            told = "; ".join(f"{one.outcome} {one.task_id}" for one in purchase.attempts)
            self.score.find_bought_twice(f"{len(held)} times {purchase.key or 'without a key'}: {told}")
        for invented in purchase.task_ids.difference(held):
            self.score.find_wrong(f"a purchase was said to be {invented}, but the backend made {list(held)}")
        if held and all(one.outcome in _DEFINITE or one.outcome == Fate.UNREACHED for one in purchase.attempts):
            said = {one.outcome for one in purchase.attempts}
            self.score.find_wrong(f"a purchase was said not to have been made ({', '.join(said)}), but it was")

    def _time(self, attempt: Attempt, attempts: Sequence[Attempt]) -> None:
        """Lose an attempt that took longer than it may, but for waiting for others under the same key.

        One that was never answered is lost already.
        """
        took = attempt.own_seconds([other for other in attempts if other is not attempt])
        if took > self.terms.purchase_seconds and attempt.outcome != Fate.SILENT:
            self.score.lose(f"a purchase took {took:.1f} s to become: {attempt.outcome}")

    def _excuse(self, attempt: Attempt, before: Sequence[Attempt]) -> None:
        self.score.purchases_refused += 1
        self.score.codes[f"buying: {attempt.outcome}"] += 1
        met = self.window.excuses(attempt.started, attempt.ended)
        if met and attempt.outcome in self.terms.purchases:
            self.score.troubled.append((attempt.started, attempt.ended))
        elif not self._lingers(attempt, before):
            self.score.troubled.append((attempt.started, attempt.ended))
            when = attempt.started - self.window.mended_at
            first = "; before that: " + ", ".join(one.outcome for one in before) if before else ""
            self.score.lose(f"a purchase was refused {when:+.1f} s from the mend: {attempt.outcome}{first}")

    def _lingers(self, attempt: Attempt, before: Sequence[Attempt]) -> bool:
        """Whether a refusal is about what the fault left unknown, which stays so."""
        leaves_unknown = self.terms.may_cut or UNKNOWN in self.terms.purchases
        return (
            leaves_unknown
            and attempt.outcome in (UNKNOWN, UNDER_WAY)
            and any(
                one.outcome in (UNKNOWN, UNDER_WAY, Fate.CUT) and self.window.excuses(one.started, one.ended)
                for one in before
            )
        )

    def _excuse_cut(self, attempt: Attempt, purchase: Purchase, held: Sequence[str]) -> None:
        """Lose a purchase that was cut off after it had been made; the others are judged as any call is."""
        may = self.terms.may_cut and self.window.excuses(attempt.started, attempt.ended)
        made_later = any(one.outcome == TAKEN and not one.is_replay for one in purchase.attempts)
        if held and not may and not made_later:
            self.score.lose(f"a purchase that the backend has made was {attempt.words}")
