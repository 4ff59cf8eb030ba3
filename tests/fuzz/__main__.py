# ruff: noqa: T201 - a report
"""`python -m tests.fuzz`: no request may meet a 5xx, a fault of ours, silence, or a memory that grows."""

import json
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import uvloop

from tests.fuzz.findings import Findings
from tests.fuzz.run import Figures, fuzz
from tests.support.documents import OUT

MOST_GROWTH_MB = 8.0
"""From the first fifth of 100,000 requests on; a leak of 30 bytes a request is over it.

What may grow by then is what the service keeps of videos, in bounded places: results and records in the store (16 MB),
the copies of finished tasks (4,096) and their JSON (2,048), reservations and tickets (10,000). Together that is some
11 KB for each of the few hundred videos that a run buys; callers, keys and tickets without a task are a handful each,
and all met in the first fifth. A run that buys nothing grows by about 1 MB and then no more.
"""


def _verdicts(figures: Figures, findings: Findings) -> list[str]:
    """Return what is not as it must be, beside the findings."""
    verdicts = []
    if figures.answers < figures.cases and not findings.are_enough:
        verdicts.append(f"{figures.answers:,} answers to {figures.cases:,} requests")
    if figures.growth_mb > MOST_GROWTH_MB:
        verdicts.append(f"memory grew by {figures.growth_mb:.1f} MB, more than {MOST_GROWTH_MB} MB")
    if figures.exit_status != 0:
        verdicts.append(f"the service ended with {figures.exit_status}")
    return verdicts


def main() -> int:
    """Return the exit status."""
    parser = ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=100_000, help="requests; one in twenty more is framed by hand")
    parser.add_argument("--seed", type=int, default=1, help="another universe of requests")
    asked = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    for stale in OUT.glob("fuzz-*.http"):
        stale.unlink()
    started, findings = time.monotonic(), Findings()
    with tempfile.TemporaryDirectory() as folder:
        figures = uvloop.run(fuzz(asked.cases, asked.seed, Path(folder), findings))
    seconds = time.monotonic() - started
    told = {
        "cases": figures.cases,
        "answers": figures.answers,
        "server_errors": findings.server_errors,
        "faults_logged": findings.faults_logged,
        "growth_mb": round(figures.growth_mb, 1),
        "seconds": round(seconds, 1),
        "seed": asked.seed,
    }
    (OUT / "fuzz.json").write_text(json.dumps(told, indent=1) + "\n")
    print(figures.told(), f"{seconds:.0f} s, seed {asked.seed}")
    verdicts = _verdicts(figures, findings)
    print("\n".join(filter(None, [findings.report(), *verdicts])) or "well")
    return 1 if findings.found or verdicts else 0


if __name__ == "__main__":
    raise SystemExit(main())
