# ruff: noqa: T201 - a report
"""`python -m tests.faults`: run every fault scenario; exit 1 if a call is lost or wrong, or a video is bought twice."""

import asyncio
import resource
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from tests.faults.lanes import play_all
from tests.faults.report import Outcome, fuzz_figures, parts, tell
from tests.faults.scenarios import SCENARIOS
from tests.support.documents import FOLDER, update

DOCUMENT = FOLDER / "reliability.md"
MAX_SECONDS = 600.0
"""The limit for the fault run and the last fuzz run together."""

DESCRIPTORS = 8_192
"""The soft limit of open files for this process and its children."""


def main() -> int:
    """Return the exit status."""
    chosen = _chosen()
    fuzz = fuzz_figures()
    if chosen.update and (chosen.only or fuzz is None):
        print("--update needs a whole run: omit --only, and run `python -m tests.fuzz` first.")
        return 1
    more_descriptors()
    started = time.monotonic()
    scenarios = [scenario for scenario in SCENARIOS if chosen.only.lower() in scenario.title.lower()]
    outcomes = asyncio.run(play_all(scenarios, chosen.seed, lambda outcome: print(tell(outcome), flush=True)))
    seconds = time.monotonic() - started
    is_well = _sum_up(outcomes, seconds, 0.0 if fuzz is None else fuzz["seconds"])
    if chosen.update and is_well and fuzz is not None:
        update(DOCUMENT, parts(outcomes, seed=chosen.seed, seconds=seconds, fuzz=fuzz))
    elif chosen.update:
        print("docs/reliability.md is not updated, because the run is not well.")
    return 0 if is_well else 1


def _chosen() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", default="", help="run only scenarios whose title contains this")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--update", action="store_true", help="write the results to docs/reliability.md if all is well")
    return parser.parse_args()


def _sum_up(outcomes: Sequence[Outcome], seconds: float, fuzz_seconds: float) -> bool:
    """Print the troubles again, and a summary; return whether every scenario is well and the time limit was kept."""
    well = sum(outcome.is_well for outcome in outcomes)
    total = seconds + fuzz_seconds
    for outcome in outcomes:
        if not outcome.is_well:
            print(tell(outcome))
    print(f"{well} of {len(outcomes)} scenarios are well; {seconds:.0f} s, {total:.0f} s with the fuzz")
    if total > MAX_SECONDS:
        print(f"NOT WELL  the fault and fuzz runs took more than {MAX_SECONDS:.0f} s")
    return bool(outcomes) and well == len(outcomes) and total <= MAX_SECONDS


def more_descriptors() -> None:
    """Raise the soft limit of open files, for this process and its children, to DESCRIPTORS or the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    raise SystemExit(main())
