"""From one core's figures to a service's: what 10^3, 10^5 and 10^7 watched tasks ask for, on paper."""

from collections.abc import Mapping, Sequence
from math import ceil

from tests.benchmarks.growth import Point
from tests.benchmarks.rows import WATCHED_AT_ONCE

WATCHED = (1_000, 100_000, 10_000_000)
QUESTION_SECONDS = 10.0
"""How often a token asks about all of its tasks in one batch, each time with one read at the backend.

A running task is worth reading every 5 to 15 s, as AceDataCloud advises.
"""

OPERATIONS = 1 + WATCHED_AT_ONCE
"""Commands to Redis for such a batch: one MGET, and a SET for each task that was read."""

LOAD = 0.5
"""How busy a worker is meant to be."""


def sizing_table(batch_seconds: float, curves: Mapping[str, Sequence[Point]]) -> str:
    """Return the table, by the processor time of an uncached batch and the bytes a task that this run has measured."""
    bytes_a_task = curves["tasks in Redis"][-1].figures["bytes a task"]
    head = (
        "| watched tasks | tokens | batches/s, each with a call to the backend | workers (cores) | Redis memory "
        "| Redis operations/s |"
    )
    lines = [head, "|---" * 6 + "|"]
    for watched in WATCHED:
        tokens = watched // WATCHED_AT_ONCE
        batches = tokens / QUESTION_SECONDS
        workers = max(2, ceil(batches * batch_seconds / LOAD))
        lines.append(
            f"| {watched:,} | {tokens:,} | {batches:,.0f} | {workers:,} | {_size(watched * bytes_a_task)} "
            f"| {batches * OPERATIONS:,.0f} |"
        )
    return "\n".join(lines)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
