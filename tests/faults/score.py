"""What became of a crowd's calls, as far as it can be told before the fault is over."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.calls import Reply
from tests.faults.terms import Terms, Window

MOST_NOTES = 8


@dataclass(frozen=True, slots=True)
class PutOff:
    """A question of which some ids were not answered: when, with which codes, and whether one had been read before."""

    started: float
    ended: float
    codes: frozenset[str]
    was_known: bool
    is_partial: bool


@dataclass(slots=True)
class Score:
    """Calls, and what was amiss with them; `notes` has the first few things in words. `lost` counts calls, not ids."""

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
    def is_well(self) -> bool:
        """Whether nothing was lost, untrue or paid for twice."""
        return not (self.lost or self.wrong or self.bought_twice)

    @property
    def split_batches(self) -> int:
        """How many questions were answered in part."""
        return sum(one.is_partial for one in self.put_off)

    def lose(self, why: str) -> None:
        """Count a call that could have been answered and was not."""
        self.lost += 1
        self._note(f"lost: {why}")

    def find_wrong(self, why: str) -> None:
        """Count an answer that is not true."""
        self.wrong += 1
        self._note(f"wrong: {why}")

    def find_bought_twice(self, why: str) -> None:
        """Count a video that was paid for more than once."""
        self.bought_twice += 1
        self._note(f"bought twice: {why}")

    def answered(self, reply: Reply) -> None:
        """Note how long an answer took."""
        self.slowest_seconds = max(self.slowest_seconds, reply.ended - reply.started)

    def put_off_ids(self, reply: Reply, faults: Mapping[str, Mapping[str, Any]], *, was_known: bool, of: int) -> None:
        """Note the ids that were not answered, by their typed errors; judged when the fault is over."""
        self.ids_put_off += len(faults)
        self.codes.update(fault["code"] for fault in faults.values())
        self.troubled.append((reply.started, reply.ended))
        codes = frozenset(fault["code"] for fault in faults.values())
        self.put_off.append(PutOff(reply.started, reply.ended, codes, was_known, is_partial=len(faults) < of))
        if any(fault["code"] != "unauthorized" and "retry_after_seconds" not in fault for fault in faults.values()):
            self.lose(f"ids were put off without saying for how long ({', '.join(codes)})")

    def judge_reads(self, terms: Terms, window: Window) -> None:
        """Count as lost each question that was put off without the fault's excuse."""
        for one in self.put_off:
            is_withheld = one.codes == {"unauthorized"} <= terms.reads  # a refused token is given nothing that is kept
            if one.was_known and not is_withheld:
                self.lose(f"an id that was read before could not be answered ({', '.join(one.codes)})")
            elif not one.codes <= terms.reads:
                self.lose(f"ids were put off with {', '.join(one.codes)}, which this fault does not excuse")
            elif not window.excuses(one.started, one.ended):
                when = one.started - window.mended_at
                self.lose(f"ids were put off ({', '.join(one.codes)}) {when:+.1f} s from the mend")

    def judge_cuts(self, terms: Terms, window: Window) -> None:
        """Count as lost each call that was cut off and may not have been, but for a few races for a connection."""
        for cut in self.cut:
            self.troubled.append((cut.started, cut.ended))
            if terms.may_cut and window.excuses(cut.started, cut.ended):
                continue
            self.races += 1
            if self.races > terms.races or not window.excuses(cut.started, cut.ended):
                self.lose(f"a call was {cut.words} {cut.started - window.mended_at:+.1f} s from the mend")

    def last_trouble_after(self, moment: float) -> float:
        """Return when the last call that began after `moment` and met trouble ended; `moment` where none did."""
        return max((ended for started, ended in self.troubled if started > moment), default=moment)

    def _note(self, why: str) -> None:
        if len(self.notes) < MOST_NOTES:
            self.notes.append(why)
