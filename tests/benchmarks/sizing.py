"""From one core's figures to a service's: what 10^3, 10^5 and 10^7 watched tasks ask for, on paper."""

from collections.abc import Mapping, Sequence
from math import ceil

from tests.benchmarks.growth import Point
from tests.benchmarks.rows import Rate

WATCHED = (1_000, 100_000, 10_000_000)
TASKS_PER_TOKEN = 20
"""Running tasks of one token at a time; a guess at a busy member of a team."""

QUESTION_SECONDS = 10.0
"""How often a token asks about all of its tasks in one batch."""

READ_SECONDS = 10.0
"""How often a running task is worth reading at the backend: 5 to 15 s, as AceDataCloud advises."""

READS_PER_CALL = 20
"""Tasks in one read of the backend: all of one token's."""

LOAD = 0.5
"""How busy a worker is meant to be."""


def sizing_table(rates: Sequence[Rate], curves: Mapping[str, Sequence[Point]]) -> str:
    """Return the table, by the rates and the bytes a task that this run has measured."""
    rate = next(rate.median for rate in rates if rate.name == "service" and rate.case.startswith("batch of 50"))
    bytes_a_task = curves["tasks in Redis"][-1].figures["bytes a task"]
    head = (
        "| watched tasks | tokens | batches/s | workers (cores) | Redis memory | Redis operations/s | backend calls/s "
        "| by one token |"
    )
    lines = [head, "|---" * 8 + "|"]
    for watched in WATCHED:
        tokens = watched // TASKS_PER_TOKEN
        batches = tokens / QUESTION_SECONDS
        calls = watched / READ_SECONDS / READS_PER_CALL
        workers = max(2, ceil(batches / (rate * LOAD)))
        operations = batches + 2 * calls + 2 * tokens / READ_SECONDS
        lines.append(
            f"| {watched:,} | {tokens:,} | {batches:,.0f} | {workers:,} | {_size(watched * bytes_a_task)} "
            f"| {operations:,.0f} | {calls:,.0f} | {calls / tokens:.1g}/s |"
        )
    return "\n".join(lines)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
