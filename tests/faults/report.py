"""The report of a fault run: lines for the terminal, and the generated parts of docs/reliability.md."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.faults.play import Episode
from tests.faults.scenario import Scenario
from tests.support.documents import OUT
from tests.support.redis_server import redis_executable

FUZZ = OUT / "fuzz.json"
"""The figures of the last fuzz run."""

COLUMNS = (
    "what breaks", "seen by", "calls", "lost", "wrong", "bought twice", "ids put off", "purchases refused",
    "slowest call", "back to normal", "most memory",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one scenario. `episode` is None if an exception ended it, which `trouble` describes then."""

    scenario: Scenario
    episode: Episode | None
    trouble: tuple[str, ...]
    seconds: float

    @property
    def is_well(self) -> bool:
        """Whether the scenario ran to its end without trouble."""
        return self.episode is not None and not self.trouble


def tell(outcome: Outcome) -> str:
    """Return a line with the figures, and one for each trouble."""
    figures = outcome.episode if outcome.episode is not None else f"{outcome.scenario.title}: ended by an exception"
    lines = [f"{'well' if outcome.is_well else 'NOT WELL':9} {outcome.seconds:5.1f} s  {figures}"]
    return "\n".join([*lines, *(f"                   {why}" for why in outcome.trouble)])


def fuzz_figures() -> dict[str, Any] | None:
    """Return the figures of the last fuzz run, or None if there was none."""
    return dict(json.loads(FUZZ.read_text())) if FUZZ.is_file() else None


def parts(outcomes: Sequence[Outcome], *, seed: int, seconds: float, fuzz: dict[str, Any]) -> dict[str, str]:
    """Return the generated parts of docs/reliability.md by their marker."""
    return {"head": _head(seed, seconds, fuzz), "faults": table(outcomes), "input": _input(fuzz)}


def run_with(seed: int) -> str:
    """Return a sentence with the date and seed of a run, the machine, and the versions of Python and Redis."""
    redis = subprocess.run([redis_executable(), "--version"], capture_output=True, text=True, check=True).stdout
    version = redis.partition("v=")[2].split()[0]
    return (
        f"Run on {datetime.now(UTC):%Y-%m-%d} with `--seed {seed}`: {os.cpu_count()} processors "
        f"({platform.machine()}), Python {platform.python_version()}, Redis {version}"
    )


def _head(seed: int, seconds: float, fuzz: dict[str, Any]) -> str:
    return f"{run_with(seed)}; {seconds:.0f} s for this table and {fuzz['seconds']:.0f} s for the made-up requests."


def _input(fuzz: dict[str, Any]) -> str:
    return (
        f"| what comes in | requests | answers | 5xx | faults logged | growth |\n|{'---|' * 6}\n"
        f"| made-up requests over all protocol revisions, `--seed {fuzz['seed']}` | {fuzz['cases']:,} "
        f"| {fuzz['answers']:,} | {fuzz['server_errors']} | {fuzz['faults_logged']} | {fuzz['growth_mb']:.1f} MB |"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    rows = [_row(outcome.episode) for outcome in outcomes if outcome.episode is not None]
    return "\n".join([f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", *rows])


def _row(episode: Episode) -> str:
    score = episode.score
    cells = (
        episode.scenario.title,
        "; ".join(episode.signs),
        f"{score.calls:,}",
        score.lost,
        score.wrong,
        score.bought_twice,
        f"{score.ids_put_off:,}",
        score.purchases_refused,
        f"{score.slowest_seconds:.2f} s",
        f"{episode.recovered_seconds:.1f} s",
        f"{episode.peak_megabytes:.0f} MB",
    )
    return f"| {' | '.join(map(str, cells))} |"
