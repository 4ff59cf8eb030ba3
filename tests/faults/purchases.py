"""The purchases of a crowd with their outcomes, and the check of each against the backend's own list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.errors import OutcomeUnknown
from app.domain.purchase import SENDING_SECONDS, UNKNOWN_BEFORE
from app.services.purchases.idempotency import REFUSED_WITHOUT_DATABASE, STILL_UNDER_WAY
from tests.faults.calls import Fate, Reply
from tests.faults.score import Score
from tests.faults.terms import Terms, Window

WITHOUT_DATABASE = "keys cannot be checked"
UNDER_WAY = "another is under way"
UNKNOWN = "outcome unknown"
UNKNOWN_NOW = str(ACEDATACLOUD.error(OutcomeUnknown))
LEFT = "left before the answer"
TAKEN = "taken"

_DEFINITE = frozenset({WITHOUT_DATABASE, "rate_limited", "unauthorized", "backend_error", "invalid_request"})
"""Outcomes that promise the caller that nothing was bought."""

_NO_REFUSAL = frozenset({TAKEN, LEFT, Fate.UNREACHED.value, Fate.SILENT.value, Fate.UNFIT.value})
"""Outcomes that are no refusals: they are compared with the backend's list, or were counted when they happened."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a purchase: its time span (monotonic seconds) and its outcome.

    `outcome` is one of the constants above, a Fate, or an error code. `task_id` is empty unless it is TAKEN;
    `is_replay` means that the service returned the task of an earlier attempt.
    """

    started: float
    ended: float
    outcome: str
    task_id: str = ""
    is_replay: bool = False
    words: str = ""

    def own_seconds(self, others: Sequence["Attempt"]) -> float:
        """Return the seconds from the time when none of `others`, with the same key, was under way any more.

        An attempt that was cut off or abandoned may go on in the service for up to SENDING_SECONDS.
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
    """One video to buy, and the attempts at it. A purchase without a key is not sent again once it may have arrived."""

    token: str
    prompt: str
    key: str | None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of luma_generate_video."""
        return {"prompt": self.prompt} | ({} if self.key is None else {"idempotency_key": self.key})

    @property
    def task_ids(self) -> set[str]:
        """The tasks that were returned for it."""
        return {attempt.task_id for attempt in self.attempts if attempt.outcome == TAKEN}

    def note(self, reply: Reply) -> Attempt:
        """Add an attempt with the outcome of `reply`, and return it."""
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
    if UNKNOWN_BEFORE in message or UNKNOWN_NOW in message:
        return UNKNOWN
    return str(error["code"])


@dataclass(frozen=True, slots=True)
class Judge:
    """Checks purchases against the backend's list of submissions, with the excuses of `terms` within `window`."""

    terms: Terms
    window: Window
    score: Score

    def all(self, purchases: Sequence[Purchase], book: Mapping[str, Sequence[str]]) -> None:
        """Count videos that were bought twice, untrue outcomes, and failures without an excuse.

        `book` has the ids of submitted tasks by "TOKEN PROMPT".
        """
        for purchase in purchases:
            held = book.get(f"{purchase.token} {purchase.prompt}", ())
            self._compare(purchase, held)
            for number, attempt in enumerate(purchase.attempts):
                self._check_duration(attempt, purchase.attempts)
                if attempt.outcome == Fate.CUT:
                    self._check_cut(attempt, purchase, held)
                elif attempt.outcome not in _NO_REFUSAL:
                    self._check_refusal(attempt, purchase.attempts[:number])

    def _compare(self, purchase: Purchase, held: Sequence[str]) -> None:
        if len(held) > 1:
            told = "; ".join(f"{one.outcome} {one.task_id}" for one in purchase.attempts)
            self.score.find_bought_twice(f"{len(held)} times {purchase.key or 'without a key'}: {told}")
        for invented in purchase.task_ids.difference(held):
            self.score.find_wrong(f"a purchase was said to be {invented}, but the backend made {list(held)}")
        if held and all(one.outcome in _DEFINITE or one.outcome == Fate.UNREACHED for one in purchase.attempts):
            said = {one.outcome for one in purchase.attempts}
            self.score.find_wrong(f"a purchase was said not to have been made ({', '.join(said)}), but it was")

    def _check_duration(self, attempt: Attempt, attempts: Sequence[Attempt]) -> None:
        """Count an attempt as lost if it took too long, without its waits for other attempts with the key.

        An attempt without an answer was counted when it timed out.
        """
        took = attempt.own_seconds([other for other in attempts if other is not attempt])
        if took > self.terms.purchase_seconds and attempt.outcome != Fate.SILENT:
            self.score.lose(f"a purchase took {took:.1f} s to become: {attempt.outcome}")

    def _check_refusal(self, attempt: Attempt, before: Sequence[Attempt]) -> None:
        """Count a refused attempt, and as lost if the fault does not excuse it."""
        self.score.purchases_refused += 1
        self.score.codes[f"buying: {attempt.outcome}"] += 1
        met = self.window.excuses(attempt.started, attempt.ended)
        if met and attempt.outcome in self.terms.purchases:
            self.score.troubled.append((attempt.started, attempt.ended))
        elif not self._follows_unknown_outcome(attempt, before):
            self.score.troubled.append((attempt.started, attempt.ended))
            when = attempt.started - self.window.mended_at
            first = "; before that: " + ", ".join(one.outcome for one in before) if before else ""
            self.score.lose(f"a purchase was refused {when:+.1f} s from the mend: {attempt.outcome}{first}")

    def _follows_unknown_outcome(self, attempt: Attempt, before: Sequence[Attempt]) -> bool:
        """Whether the refusal is due to an earlier attempt during the fault, whose outcome stays unknown."""
        leaves_unknown = self.terms.may_cut or UNKNOWN in self.terms.purchases
        return (
            leaves_unknown
            and attempt.outcome in (UNKNOWN, UNDER_WAY)
            and any(
                one.outcome in (UNKNOWN, UNDER_WAY, Fate.CUT) and self.window.excuses(one.started, one.ended)
                for one in before
            )
        )

    def _check_cut(self, attempt: Attempt, purchase: Purchase, held: Sequence[str]) -> None:
        """Count an attempt as lost if it was cut off after the backend had started its task.

        Other cut-off attempts are judged by Score.judge_cuts, as reads are.
        """
        may = self.terms.may_cut and self.window.excuses(attempt.started, attempt.ended)
        made_later = any(one.outcome == TAKEN and not one.is_replay for one in purchase.attempts)
        if held and not may and not made_later:
            self.score.lose(f"a purchase that the backend has made was {attempt.words}")
