"""Capacity estimates for 10^3, 10^5 and 10^7 watched tasks, calculated from the figures of one core."""

from collections.abc import Mapping, Sequence
from math import ceil

from tests.benchmarks.growth import Point
from tests.benchmarks.rows import RUNNING_TASKS_PER_TOKEN

WATCHED = (1_000, 100_000, 10_000_000)
QUESTION_SECONDS = 10.0
"""The interval at which a token asks about all of its tasks in one batch, which causes one read from the backend.

AceDataCloud advises to poll a running task every 5 to 15 s.
"""

OPERATIONS = 1 + RUNNING_TASKS_PER_TOKEN
"""Redis commands for such a batch: one MGET, and a SET for each task that was read."""

LOAD = 0.5
"""The target utilization of a worker."""


def sizing_table(batch_seconds: float, curves: Mapping[str, Sequence[Point]]) -> str:
    """Return the estimates as a Markdown table.

    `batch_seconds` is the processor time of an uncached batch; the memory of a task is taken from `curves`.
    """
    bytes_a_task = curves["tasks in Redis"][-1].figures["bytes a task"]
    head = (
        "| watched tasks | tokens | batches/s, each with a call to the backend | workers (cores) | Redis memory "
        "| Redis operations/s |"
    )
    lines = [head, "|---" * 6 + "|"]
    for watched in WATCHED:
        tokens = watched // RUNNING_TASKS_PER_TOKEN
        batches = tokens / QUESTION_SECONDS
        workers = max(2, ceil(batches * batch_seconds / LOAD))
        lines.append(
            f"| {watched:,} | {tokens:,} | {batches:,.0f} | {workers:,} | {_size(watched * bytes_a_task)} "
            f"| {batches * OPERATIONS:,.0f} |"
        )
    return "\n".join(lines)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
