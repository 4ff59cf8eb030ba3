# ruff: noqa: T201 - a report
"""`python -m tests.attacks`: run every attack; exit 1 if one exceeds a limit of memory, latency or its own figures."""

import asyncio
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.attacks.attacks import ROWS, Case
from tests.attacks.costly_requests import COSTLY_ROWS
from tests.attacks.database_attacks import DATABASE_ROWS
from tests.attacks.edge_attacks import EDGE_ROWS
from tests.attacks.edge_combinations import COMBINATIONS
from tests.attacks.edge_floods import FLOODS
from tests.attacks.edge_heads import HEADS
from tests.attacks.forgeries import FORGERIES
from tests.attacks.key_attacks import ACCESS_TOKEN_ROWS, KEY_ROWS
from tests.attacks.read_attacks import READ_ROWS
from tests.attacks.sign_in_attacks import SIGN_IN_ROWS
from tests.attacks.target import Figure, Target, attacked
from tests.faults.__main__ import more_descriptors
from tests.support.documents import update

DOCUMENT = Path(__file__).parents[2] / "SECURITY.md"
MAX_MEGABYTES = 250.0
"""The limit of the service's resident memory, in 10^6 bytes."""

SLOWEST_SECONDS = 1.0
"""The limit of an honest caller's median read, or twice the undisturbed median if that is more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The cost of one attack: peak memory (MB), and an honest caller's median read before and during it (seconds)."""

    case: Case
    megabytes: float
    undisturbed: float
    under_attack: float
    figures: tuple[Figure, ...]

    @property
    def is_well(self) -> bool:
        """Whether memory, the honest caller's reads and the attack's own figures are within their limits."""
        is_quick = self.under_attack <= max(SLOWEST_SECONDS, 2 * self.undisturbed)
        is_bounded = all(figure.value <= figure.most for figure in self.figures)
        return self.megabytes <= MAX_MEGABYTES and is_quick and is_bounded

    def __str__(self) -> str:
        """Return the figures as one line."""
        word = "well" if self.is_well else "NOT WELL"
        read = f"read {self.undisturbed * 1000:.0f} -> {self.under_attack * 1000:.0f} ms"
        return f"{word:9} {self.case.title}: {self.megabytes:.0f} MB, {read} {'; '.join(map(str, self.figures))}"


def main() -> int:
    """Return the exit status."""
    chosen = _chosen()
    more_descriptors()
    started = time.monotonic()
    edge = (*EDGE_ROWS, *COMBINATIONS, *HEADS, *FLOODS, *READ_ROWS)
    every = (*ROWS, *edge, *DATABASE_ROWS, *KEY_ROWS, *SIGN_IN_ROWS, *COSTLY_ROWS, *FORGERIES, *ACCESS_TOKEN_ROWS)
    cases = [case for case in every if chosen.only.lower() in case.title.lower()][:: chosen.every]
    outcomes = [_attack(case) for case in cases]
    is_well = bool(outcomes) and all(outcome.is_well for outcome in outcomes)
    print(f"{sum(outcome.is_well for outcome in outcomes)} of {len(outcomes)} attacks are well; {_since(started)}")
    if chosen.update and is_well and not chosen.only and chosen.every == 1:
        update(DOCUMENT, {"attacks": table(outcomes)})
    return 0 if is_well else 1


def _chosen() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.attacks")
    parser.add_argument("--only", default="", help="run only attacks whose title contains this")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="run every N-th attack alone (%(default)s)")
    parser.add_argument(
        "--update", action="store_true", help="write the results of a whole run to SECURITY.md if all is well"
    )
    return parser.parse_args()


def _attack(case: Case) -> Outcome:
    with attacked(case.delay_seconds, case.settings, has_issuer=case.has_issuer) as target:
        outcome = asyncio.run(_measure(case, target))
    print(outcome, flush=True)
    return outcome


async def _measure(case: Case, target: Target) -> Outcome:
    async with httpx.AsyncClient(timeout=60) as http, target.watched():
        undisturbed = await target.honest_seconds(http)
        async with case.attack(target):
            under_attack = await target.honest_seconds(http)
    return Outcome(case, target.most_megabytes, undisturbed, under_attack, tuple(target.figures))


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    lines = [
        f"| {one.case.title} | {one.case.undefended_cost} | {one.megabytes:.0f} MB "
        f"| {one.undisturbed * 1000:.0f} ms, then {one.under_attack * 1000:.0f} ms "
        f"| {'; '.join(map(str, one.figures))} |"
        for one in outcomes
    ]
    head = "| attack | release 1.0 | memory of the process | an honest caller's median read | besides |"
    return "\n".join([head, f"|{'---|' * 5}", *lines])


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.0f} s"


if __name__ == "__main__":
    raise SystemExit(main())
