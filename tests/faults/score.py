"""The score of a crowd: counters of calls and failures, and the failures to judge after the fault."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.calls import Reply
from tests.faults.terms import Terms, Window

MAX_NOTES = 8
"""The most failures that are described; all are counted."""


@dataclass(frozen=True, slots=True)
class PutOff:
    """A read with ids that were unavailable: its time span, and the error codes of those ids.

    `was_known` means that an earlier answer had shown one of them as finished; `is_partial` that others were answered.
    """

    started: float
    ended: float
    codes: frozenset[str]
    was_known: bool
    is_partial: bool


@dataclass(slots=True)
class Score:
    """The counters of one scenario.

    lost: calls without a usable answer that no fault excuses.
    wrong: answers that are untrue.
    ids_put_off: ids that were answered as unavailable.
    races: calls that were cut off although no fault excuses it; a few are allowed where replicas stop.
    unreached: refused connections.
    codes: error codes of unavailable ids and refused purchases.
    put_off, cut: failures that are judged after the fault, when its window is known.
    troubled: the time spans of failed calls, which determine the time of recovery.
    notes: descriptions of the first failures.
    """

    calls: int = 0
    lost: int = 0
    wrong: int = 0
    bought_twice: int = 0
    ids_put_off: int = 0
    purchases_refused: int = 0
    races: int = 0
    unreached: int = 0
    slowest_seconds: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)
    put_off: list[PutOff] = field(default_factory=list)
    cut: list[Reply] = field(default_factory=list)
    troubled: list[tuple[float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def split_batches(self) -> int:
        """The number of batches of which only a part was answered."""
        return sum(one.is_partial for one in self.put_off)

    def lose(self, why: str) -> None:
        """Count a call that should have been answered and was not."""
        self.lost += 1
        self._note(f"lost: {why}")

    def find_wrong(self, why: str) -> None:
        """Count an untrue answer."""
        self.wrong += 1
        self._note(f"wrong: {why}")

    def find_bought_twice(self, why: str) -> None:
        """Count a video that was submitted to the backend more than once."""
        self.bought_twice += 1
        self._note(f"bought twice: {why}")

    def answered(self, reply: Reply) -> None:
        """Record the duration of an answered call."""
        self.slowest_seconds = max(self.slowest_seconds, reply.ended - reply.started)

    def put_off_ids(self, reply: Reply, faults: Mapping[str, Mapping[str, Any]], *, was_known: bool, of: int) -> None:
        """Record ids that were unavailable, with their typed errors, for `judge_reads`; `of` is how many were asked.

        An error other than "unauthorized" without retry_after_seconds counts as lost at once.
        """
        self.ids_put_off += len(faults)
        self.codes.update(fault["code"] for fault in faults.values())
        self.troubled.append((reply.started, reply.ended))
        codes = frozenset(fault["code"] for fault in faults.values())
        self.put_off.append(PutOff(reply.started, reply.ended, codes, was_known, is_partial=len(faults) < of))
        if any(fault["code"] != "unauthorized" and "retry_after_seconds" not in fault for fault in faults.values()):
            self.lose(f"ids were put off without saying for how long ({', '.join(codes)})")

    def judge_reads(self, terms: Terms, window: Window) -> None:
        """Count as lost each recorded read with unavailable ids that `terms` does not excuse within `window`."""
        for one in self.put_off:
            is_withheld = one.codes == {"unauthorized"} <= terms.reads  # a refused token gets no cached results either
            if one.was_known and not is_withheld:
                self.lose(f"an id that was read before could not be answered ({', '.join(one.codes)})")
            elif not one.codes <= terms.reads:
                self.lose(f"ids were put off with {', '.join(one.codes)}, which this fault does not excuse")
            elif not window.excuses(one.started, one.ended):
                when = one.started - window.mended_at
                self.lose(f"ids were put off ({', '.join(one.codes)}) {when:+.1f} s from the mend")

    def judge_cuts(self, terms: Terms, window: Window) -> None:
        """Count as lost each call that was cut off, unless it overlaps `window` and `may_cut` or `races` excuses it."""
        for cut in self.cut:
            self.troubled.append((cut.started, cut.ended))
            if terms.may_cut and window.excuses(cut.started, cut.ended):
                continue
            self.races += 1
            if self.races > terms.races or not window.excuses(cut.started, cut.ended):
                self.lose(f"a call was {cut.words} {cut.started - window.mended_at:+.1f} s from the mend")

    def last_trouble_after(self, moment: float) -> float:
        """Return the end of the last failed call that began after `moment`, or `moment` if there is none."""
        return max((ended for started, ended in self.troubled if started > moment), default=moment)

    def _note(self, why: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(why)
