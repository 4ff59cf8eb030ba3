# ruff: noqa: T201 - a report
"""`python -m tests.soak`: random faults under load; exit 1 if a call is lost or wrong, or a replica keeps growing."""

import asyncio
import json
import secrets
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from tests.faults.__main__ import DOCUMENT, more_descriptors
from tests.faults.report import run_with
from tests.soak.plot import plot
from tests.soak.run import Run, soak
from tests.support.documents import FOLDER, OUT, update


def main() -> int:
    """Return the exit status."""
    parser = ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument(
        "--seed",
        type=int,
        default=secrets.randbits(32),
        help="random seed of the faults and calls; a random one by default",
    )
    parser.add_argument("--update", action="store_true", help="write the results to docs/reliability.md if all is well")
    chosen = parser.parse_args()
    print(f"{chosen.minutes:g} minutes with --seed {chosen.seed}", flush=True)
    more_descriptors()
    run = Run(chosen.seed)
    try:
        asyncio.run(soak(run, chosen.minutes))
    finally:
        _write(run)
    print(f"{_figures(run)} out/soak.json and out/soak.png have the rest.")
    for why in run.trouble:
        print(f"NOT WELL  {why}")
    if chosen.update and not run.trouble:
        update(DOCUMENT, {"soak": f"{run_with(run.seed)}; {chosen.minutes:g} minutes. {_figures(run)}"})
        (FOLDER / "soak.png").write_bytes((OUT / "soak.png").read_bytes())
    return 1 if run.trouble else 0


def _figures(run: Run) -> str:
    scores = [episode.score for episode in run.episodes]
    lost, wrong = sum(score.lost for score in scores), sum(score.wrong for score in scores)
    grown = ", ".join(f"{by:+.1f} {name}" for name, by in run.growth.items())
    return (
        f"{sum(score.calls for score in scores):,} calls under {len(scores)} faults: {lost} lost, {wrong} untrue or "
        f"foreign answers, {sum(score.bought_twice for score in scores)} videos bought twice. From the second third to "
        f"the last: {grown}."
    )


def _write(run: Run) -> None:
    """Write out/soak.json and out/soak.png, also for a run that ended early."""
    OUT.mkdir(exist_ok=True)
    told: dict[str, Any] = {
        "seed": run.seed,
        "not well": run.trouble,
        "episodes": [str(episode) for episode in run.episodes],
        "samples": [asdict(sample) for sample in run.samples.taken],
    }
    (OUT / "soak.json").write_text(json.dumps(told, indent=1) + "\n")
    if run.samples.taken:
        plot(run.samples, OUT / "soak.png")


if __name__ == "__main__":
    raise SystemExit(main())
