# ruff: noqa: T201 - a report
"""`python -m tests.faults`: break everything in turn; end with 1 where a call is lost, untrue or paid for twice."""

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
MOST_SECONDS = 600.0
"""What the fuzz and the fault runs may take together."""

DESCRIPTORS = 8_192


def main() -> int:
    """Return the exit status."""
    chosen = _chosen()
    fuzz = fuzz_figures()
    if chosen.update and (chosen.only or fuzz is None):
        print("Only a whole run is written down: without --only, and after `python -m tests.fuzz`.")
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
        print("What is not well is not written down.")
    return 0 if is_well else 1


def _chosen() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--update", action="store_true", help="write a whole run that is well into docs/reliability.md")
    return parser.parse_args()


def _sum_up(outcomes: Sequence[Outcome], seconds: float, fuzz_seconds: float) -> bool:
    """Say how the run went, and return whether all of it is well and was in time."""
    well = sum(outcome.is_well for outcome in outcomes)
    total = seconds + fuzz_seconds
    print(f"{well} of {len(outcomes)} scenarios are well; {seconds:.0f} s, {total:.0f} s with the fuzz")
    if total > MOST_SECONDS:
        print(f"NOT WELL  that is more than {MOST_SECONDS:.0f} s")
    return bool(outcomes) and well == len(outcomes) and total <= MOST_SECONDS


def more_descriptors() -> None:
    """Let this process, and all that it starts, hold two thousand connections and more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    raise SystemExit(main())
