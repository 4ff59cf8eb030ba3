"""One scenario from beginning to end: a load, a fault in the midst of it, and what became of the calls."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from tests.faults.canary import until_well
from tests.faults.crowd import Crowd
from tests.faults.purchases import Judge
from tests.faults.scenario import Scenario, Stage
from tests.faults.score import Score
from tests.faults.terms import Window
from tests.faults.world import World

WARM_SECONDS = 1.0
HEALTHY_SECONDS = 10.0
STRICT_SECONDS = 1.0
"""For how long the load goes on, at the least, when nothing is excused any more."""

LONGEST_GRACE_SECONDS = 2.0
"""A longer grace than this is not waited for: it is for calls that began under the fault."""


@dataclass(frozen=True, slots=True)
class Episode:
    """What became of the calls. `recovered_seconds` counts from the end of the fault, or of one at once, from it."""

    scenario: Scenario
    score: Score
    signs: tuple[str, ...]
    recovered_seconds: float
    peak_megabytes: float
    trouble: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether the service did as well as the scenario asks."""
        return not self.trouble

    def __str__(self) -> str:
        """Return the figures in a line."""
        score = self.score
        return (
            f"{self.scenario.title}: {score.calls} calls, {score.lost} lost, {score.wrong} wrong, "
            f"{score.bought_twice} bought twice, {score.ids_put_off} ids put off, {score.purchases_refused} purchases "
            f"refused, {score.races} races, recovered in {self.recovered_seconds:.2f} s, slowest "
            f"{score.slowest_seconds:.2f} s, {self.peak_megabytes:.0f} MB; {'; '.join(self.signs)} {dict(score.codes)}"
        )


async def play(world: World, scenario: Scenario, seed: int) -> Episode:
    """Let a crowd call, break what the scenario breaks, lift it again, and hold everything against the truth.

    Raises whatever shows that the fault did not hit, that it was not mended, or that the service did not recover.
    """
    crowd = Crowd(world.urls, scenario.terms, seed, callers=scenario.callers)
    stage = Stage(world, crowd, Random(f"{seed}-fault"), scenario.seconds)
    await world.tell_oracle(fault=None, seed=seed)
    world.forget_peaks()
    logged, hasty = sum(1 for _ in world.faults_logged()), await _cut_short(world)
    refused = await world.values_refused()
    async with _calling(crowd):
        await asyncio.sleep(WARM_SECONDS)
        await until_well(world, HEALTHY_SECONDS)
        window, passed_at = await _break(stage, scenario)
        strict_from = max(passed_at, window.mended_at + min(window.grace_seconds, LONGEST_GRACE_SECONDS))
        await asyncio.sleep(strict_from + STRICT_SECONDS - time.monotonic())
    await crowd.repeat_purchases()
    await _judge(world, crowd, scenario, window)
    if not scenario.terms.may_refuse_values and await world.values_refused() > refused:
        crowd.score.find_wrong("the store holds values that the service takes for somebody else's")
    if waits := await _cut_short(world) - hasty:
        crowd.score.lose(f"{waits} times the backend was asked again sooner than its Retry-After said")
    counted_from = window.broken_at if scenario.at_once else window.mended_at
    well_again = passed_at - counted_from
    recovered = max(well_again, crowd.score.last_trouble_after(window.mended_at) - counted_from)
    peak = world.peak_megabytes()
    trouble = [*crowd.score.notes, *list(world.faults_logged())[logged:]]
    if peak > scenario.terms.most_megabytes:
        trouble.append(f"a replica came to hold {peak:.0f} MB")
    if well_again > scenario.terms.recovery_seconds:
        trouble.append(f"it took {well_again:.1f} s to recover")
    return Episode(scenario, crowd.score, tuple(stage.signs), recovered, peak, tuple(trouble))


async def _break(stage: Stage, scenario: Scenario) -> tuple[Window, float]:
    """Break and mend; return when that was, and when the service was well again."""
    broken_at = time.monotonic()
    async with scenario.broken(stage):
        await asyncio.sleep(stage.seconds)
    mended_at = time.monotonic()
    passed_at = await until_well(stage.world, scenario.terms.recovery_seconds)
    return Window(broken_at, mended_at, scenario.terms.grace_seconds), passed_at


async def _judge(world: World, crowd: Crowd, scenario: Scenario, window: Window) -> None:
    """Hold what could not be judged when it happened against the fault and the backend's book."""
    book = (await world.oracle())["bought"]
    crowd.score.judge_reads(scenario.terms, window)
    crowd.score.judge_cuts(scenario.terms, window)
    Judge(scenario.terms, window, crowd.score).all(crowd.purchases, book)


async def _cut_short(world: World) -> int:
    """Return how many waits that the backend asked for were not kept so far."""
    return int((await world.oracle())["waits"].get("cut short", 0))


@asynccontextmanager
async def _calling(crowd: Crowd) -> AsyncIterator[None]:
    """Let the crowd call while entered. Raises what ended it before."""
    calling = asyncio.create_task(crowd.run())
    try:
        yield
    finally:
        crowd.stop()
        await calling
