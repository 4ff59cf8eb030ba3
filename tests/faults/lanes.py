"""Scenarios beside each other: as many at once as their judgement bears, each in a world of its own."""

import asyncio
import time
from collections.abc import Callable, Sequence

from tests.faults.play import Episode, play
from tests.faults.report import Outcome
from tests.faults.scenario import Scenario
from tests.faults.world import running

BUSY, QUIET = 2, 2
"""Scenarios at once that load the machine, and that mostly wait."""

LONGEST_SECONDS = 180.0
"""What one scenario may take; a quiet one waits for up to a minute to learn what became of a purchase."""


async def play_all(scenarios: Sequence[Scenario], seed: int, told: Callable[[Outcome], None]) -> list[Outcome]:
    """Play all scenarios and return their outcomes in order; `told` hears of each when it is over."""
    places = {False: asyncio.Semaphore(BUSY), True: asyncio.Semaphore(QUIET)}

    async def in_turn(scenario: Scenario) -> Outcome:
        async with places[scenario.quiet]:
            outcome = await _outcome(scenario, seed)
        told(outcome)
        return outcome

    return await asyncio.gather(*map(in_turn, scenarios))


async def _outcome(scenario: Scenario, seed: int) -> Outcome:
    """Play one scenario. Whatever goes wrong in it is its outcome, so that the others are played all the same."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            episode = await _in_a_world_of_its_own(scenario, seed)
    except Exception as fault:  # noqa: BLE001 - one scenario's end must not be that of the run
        return Outcome(scenario, None, tuple(_words(fault)), time.monotonic() - started)
    return Outcome(scenario, episode, episode.trouble, time.monotonic() - started)


async def _in_a_world_of_its_own(scenario: Scenario, seed: int) -> Episode:
    async with running(scenario.form) as world:
        return await play(world, scenario, seed)


def _words(fault: BaseException) -> list[str]:
    """Return what went wrong, in words; of several things each."""
    if isinstance(fault, BaseExceptionGroup):
        return [words for one in fault.exceptions for words in _words(one)]
    return [f"{type(fault).__name__}: {fault}"]
