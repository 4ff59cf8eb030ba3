"""`make conformance`: both builds at every revision that the suite knows them by, and the authorization server."""

import asyncio
import logging
import sys
import warnings
from contextlib import AsyncExitStack

from mcp import MCPDeprecationWarning

from tests.conformance.authorization import judge_authorization
from tests.conformance.builds import BUILDS
from tests.conformance.suite import HERE, Result, judge, judge_tasks
from tests.support.npm import install

PASSES = {
    ("real", "2025-06-18"): 32,
    ("real", "2025-11-25"): 38,
    ("real", "2026-07-28"): 95,
    ("fixture", "2025-06-18"): 50,
    ("fixture", "2025-11-25"): 63,
    ("fixture", "2026-07-28"): 152,
}
"""How many checks pass. It is pinned because a check that the suite skips fails nothing."""


TASKS_PASSES = 44
"""The same for the scenarios of the Tasks extension, on the fixture build."""


async def main() -> int:
    """Run everything, print what came of it and return the exit status."""
    # The suite provokes refusals, which are logged as warnings, and tests the logging that the SDK calls deprecated.
    logging.basicConfig(level=logging.ERROR)
    warnings.filterwarnings("ignore", category=MCPDeprecationWarning)
    install(HERE, "the conformance suite")
    results = []
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(build()) for name, build in BUILDS.items()}
        for (build, revision), passes in PASSES.items():
            results.append(await judge(build, revision, urls[build], passes))
        results.append(await judge_tasks("2026-07-28", urls["fixture"], TASKS_PASSES))
    results.append(await judge_authorization())
    passed, failed = (sum(counts) for counts in zip(*((run.passed, len(run.faults)) for run in results), strict=True))
    print(f"{table(results)}\n{passed} passed, {failed} failed")  # noqa: T201 - the answer that was asked for
    return 1 if any(result.faults for result in results) else 0


def table(results: list[Result]) -> str:
    """Return one line for each run, with its faults below it."""
    lines = [f"{'build':9}{'revision':15}{'passed':>7}{'expected to fail':>18}{'faults':>8}"]
    for result in results:
        counts = f"{result.passed:7}{result.expected:18}{len(result.faults):8}"
        lines.append(f"{result.build:9}{result.revision:15}{counts}")
        lines += [f"    {fault}" for fault in result.faults]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
