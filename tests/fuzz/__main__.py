# ruff: noqa: T201 - a report
"""`python -m tests.fuzz`: exit 1 if any request gets a 5xx, an internal error or no answer, or if memory grows."""

import json
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import uvloop

from tests.fuzz.findings import Findings
from tests.fuzz.run import Figures, fuzz
from tests.support.documents import OUT

MAX_GROWTH_MB = 8.0
"""The limit of memory growth after the first fifth of 100,000 requests.

Bounded caches may still grow then: results and snapshots in the memory store (16 MB) and rendered results in the
process (8 MB). That is some 11 KB for each of the few hundred videos that a run buys. A leak of 30 bytes a request
exceeds the limit together with that growth. A run that buys nothing grows by about 1 MB and then no more.
"""


def _verdicts(figures: Figures, findings: Findings) -> list[str]:
    """Return the failures of the run as a whole: missing answers, memory growth, and the exit status."""
    verdicts = []
    if figures.answers < figures.cases and not findings.are_enough:
        verdicts.append(f"{figures.answers:,} answers to {figures.cases:,} requests")
    if figures.growth_mb > MAX_GROWTH_MB:
        verdicts.append(f"memory grew by {figures.growth_mb:.1f} MB, more than {MAX_GROWTH_MB} MB")
    if figures.exit_status != 0:
        verdicts.append(f"the service ended with exit status {figures.exit_status}")
    return verdicts


def main() -> int:
    """Return the exit status."""
    parser = ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=100_000, help="HTTP requests; 5 %% more are sent as raw bytes")
    parser.add_argument("--seed", type=int, default=1, help="random seed")
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
