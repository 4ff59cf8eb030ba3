"""The run of one scenario: load, fault, recovery, and the judgement of all calls."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from tests.faults.canary import wait_until_recovered
from tests.faults.crowd import Crowd
from tests.faults.purchases import Judge
from tests.faults.scenario import Scenario, Stage
from tests.faults.score import Score
from tests.faults.terms import Window
from tests.faults.world import World

WARM_SECONDS = 1.0
"""The load before the fault."""

HEALTHY_SECONDS = 10.0
"""The time limit of the recovery check before the fault."""

STRICT_SECONDS = 1.0
"""The least time that the load goes on after recovery and grace, when no failure is excused any more."""

MAX_GRACE_SECONDS = 2.0
"""The longest grace that the strict load waits for. Longer ones are for calls that began during the fault."""


@dataclass(frozen=True, slots=True)
class Episode:
    """The result of a scenario.

    signs: the evidence that the fault hit.
    recovered_seconds: counted from the end of the fault.
    trouble: everything that is not well, as sentences; empty if all is.
    """

    scenario: Scenario
    score: Score
    signs: tuple[str, ...]
    recovered_seconds: float
    peak_megabytes: float
    trouble: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether the service kept the scenario's terms."""
        return not self.trouble

    def __str__(self) -> str:
        """Return the figures as one line."""
        score = self.score
        return (
            f"{self.scenario.title}: {score.calls} calls, {score.lost} lost, {score.wrong} wrong, "
            f"{score.bought_twice} bought twice, {score.ids_put_off} ids put off, {score.purchases_refused} purchases "
            f"refused, {score.races} races, recovered in {self.recovered_seconds:.2f} s, slowest "
            f"{score.slowest_seconds:.2f} s, {self.peak_megabytes:.0f} MB; {'; '.join(self.signs)} {dict(score.codes)}"
        )


async def play(world: World, scenario: Scenario, seed: int) -> Episode:
    """Run a crowd, inject the scenario's fault, wait for recovery, and judge every call.

    Raises AssertionError if the fault had no visible effect, TimeoutError if the service did not recover, and any
    exception of the fault itself.
    """
    crowd = Crowd(world.urls, scenario.terms, seed, callers=scenario.callers)
    stage = Stage(world, crowd, Random(f"{seed}-fault"), scenario.seconds)
    await world.set_oracle(fault=None, seed=seed)
    world.forget_peaks()
    logged, hasty = sum(1 for _ in world.faults_logged()), await _early_retries(world)
    refused = await world.values_refused()
    async with _calling(crowd):
        await asyncio.sleep(WARM_SECONDS)
        await wait_until_recovered(world, HEALTHY_SECONDS)
        window, passed_at = await _break(stage, scenario)
        strict_from = max(passed_at, window.mended_at + min(window.grace_seconds, MAX_GRACE_SECONDS))
        await asyncio.sleep(strict_from + STRICT_SECONDS - time.monotonic())
    await crowd.repeat_purchases()
    await _check_scenario(world, crowd, scenario, window)
    if not scenario.terms.may_refuse_values and await world.values_refused() > refused:
        crowd.score.find_wrong("the service refused values in Redis: their signature does not fit")
    if waits := await _early_retries(world) - hasty:
        crowd.score.lose(f"{waits} times the backend was asked again sooner than its Retry-After said")
    well_again = passed_at - window.mended_at
    recovered = max(well_again, crowd.score.last_trouble_after(window.mended_at) - window.mended_at)
    peak = world.peak_megabytes()
    trouble = [*crowd.score.notes, *list(world.faults_logged())[logged:]]
    if peak > scenario.terms.most_megabytes:
        trouble.append(f"a replica came to hold {peak:.0f} MB")
    if well_again > scenario.terms.recovery_seconds:
        trouble.append(f"it took {well_again:.1f} s to recover")
    return Episode(scenario, crowd.score, tuple(stage.signs), recovered, peak, tuple(trouble))


async def _break(stage: Stage, scenario: Scenario) -> tuple[Window, float]:
    """Inject the fault and lift it; return its window, and the time of recovery (monotonic seconds)."""
    broken_at = time.monotonic()
    async with scenario.fault(stage):
        await asyncio.sleep(stage.seconds)
    mended_at = time.monotonic()
    passed_at = await wait_until_recovered(stage.world, scenario.terms.recovery_seconds)
    return Window(broken_at, mended_at, scenario.terms.grace_seconds), passed_at


async def _check_scenario(world: World, crowd: Crowd, scenario: Scenario, window: Window) -> None:
    """Judge the failures noted so far, now that the window is known, and purchases by the backend's own list."""
    book = (await world.oracle_state())["bought"]
    crowd.score.judge_reads(scenario.terms, window)
    crowd.score.judge_cuts(scenario.terms, window)
    Judge(scenario.terms, window, crowd.score).all(crowd.purchases, book)


async def _early_retries(world: World) -> int:
    """Return the number of retries so far that came before the Retry-After of the backend."""
    return int((await world.oracle_state())["waits"].get("cut short", 0))


@asynccontextmanager
async def _calling(crowd: Crowd) -> AsyncIterator[None]:
    """Run the crowd while the block runs. Raises its exception, if it ended with one."""
    calling = asyncio.create_task(crowd.run())
    try:
        yield
    finally:
        crowd.stop()
        await calling
