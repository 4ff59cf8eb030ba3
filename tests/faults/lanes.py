"""The scheduler of scenarios: runs a few at a time, each with its own processes."""

import asyncio
import time
from collections.abc import Callable, Sequence

from tests.faults.play import Episode, play
from tests.faults.report import Outcome
from tests.faults.scenario import Scenario
from tests.faults.world import running

BUSY, QUIET = 2, 2
"""The concurrency limits of scenarios that load the machine, and of those that mostly wait. Higher ones would slow the
service so much that calls miss their time limits."""

MAX_SECONDS = 180.0
"""The time limit of one scenario. In a quiet one a call may wait up to a minute for the outcome of a purchase."""


async def play_all(scenarios: Sequence[Scenario], seed: int, on_outcome: Callable[[Outcome], None]) -> list[Outcome]:
    """Run all scenarios and return their outcomes in the same order; `on_outcome` is called when each one ends."""
    limiters = {False: asyncio.Semaphore(BUSY), True: asyncio.Semaphore(QUIET)}

    async def limited(scenario: Scenario) -> Outcome:
        async with limiters[scenario.quiet]:
            outcome = await _outcome(scenario, seed)
        on_outcome(outcome)
        return outcome

    return await asyncio.gather(*map(limited, scenarios))


async def _outcome(scenario: Scenario, seed: int) -> Outcome:
    """Run one scenario. An exception becomes its outcome, so that the other scenarios go on."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(MAX_SECONDS):
            episode = await _play(scenario, seed)
    except Exception as exc:  # noqa: BLE001 - the other scenarios go on
        return Outcome(scenario, None, tuple(_words(exc)), time.monotonic() - started)
    return Outcome(scenario, episode, episode.trouble, time.monotonic() - started)


async def _play(scenario: Scenario, seed: int) -> Episode:
    async with running(scenario.form) as world:
        return await play(world, scenario, seed)


def _words(exc: BaseException) -> list[str]:
    """Return a description of the exception, or one for each exception in a group."""
    if isinstance(exc, BaseExceptionGroup):
        return [words for one in exc.exceptions for words in _words(one)]
    return [f"{type(exc).__name__}: {exc}"]
