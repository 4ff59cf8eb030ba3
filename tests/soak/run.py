"""One soak: one fault after another under load, and whatever was amiss with any of them."""
# ruff: noqa: T201 - a report

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from random import Random

from tests.faults.play import Episode, play
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS
from tests.faults.service_faults import rolled_over
from tests.faults.world import USUAL, Form, World, running
from tests.soak.samples import MOST_GROWTH, Samples

COUNTED = (sys.executable, "-m", "tests.soak.counted")
FORM = Form(command=COUNTED, redis="slow", clock=True)
"""A form in which every fault can be played that needs no other number of processes."""

FAULTS = tuple(
    scenario
    for scenario in SCENARIOS
    if scenario.fault is not rolled_over
    and scenario.form in (USUAL, replace(USUAL, redis="slow"), replace(USUAL, clock=True))
)
"""The scenarios that need no world of their own and leave the second replica running: its growth is what is judged."""

JUDGED = 1
LENGTHS = (0.5, 1.5)
"""How long a fault lasts, in shares of what its scenario says."""

LONGEST_SECONDS = 240.0
COOLDOWN_SECONDS = 3.0


@dataclass(slots=True)
class Run:
    """One run: what became of the calls, what was sampled, by how much it grew, and what is not well, in words."""

    seed: int
    samples: Samples = field(default_factory=Samples)
    episodes: list[Episode] = field(default_factory=list)
    growth: dict[str, float] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)


async def soak(run: Run, minutes: float) -> None:
    """Let one fault follow another for so long, and write into `run` what becomes of it.

    Whatever ends the soak before its time is trouble as well: what it has found until then is there all the same.
    """
    try:
        async with running(FORM) as world:
            run.samples.begin(world.replicas)
            async with _sampling(run.samples):
                await _break_in_turn(world, minutes, run)
    except Exception as fault:  # noqa: BLE001 - the report is worth more than the traceback
        run.trouble.append(f"the soak ended early: {fault!r}")
    run.trouble.extend(_grown(run))


async def _break_in_turn(world: World, minutes: float, run: Run) -> None:
    random = Random(run.seed)
    faults = _faults(random)
    while run.samples.elapsed_seconds < minutes * 60:
        await _break(world, next(faults), random, run)


def _faults(random: Random) -> Iterator[Scenario]:
    """Yield each fault once, so that the greatest answers come early, and then any, for ever."""
    return chain(random.sample(FAULTS, len(FAULTS)), iter(lambda: random.choice(FAULTS), None))


async def _break(world: World, scenario: Scenario, random: Random, run: Run) -> None:
    """Fault something, mend it, and look at what is held when all is at rest again."""
    fault = replace(scenario, seconds=scenario.seconds * random.uniform(*LENGTHS))
    began, seed = run.samples.elapsed_seconds, random.getrandbits(32)
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            episode = await play(world, fault, seed)
    except Exception as why:  # noqa: BLE001 - one fault's end must not be that of the run
        _tell(run, f"{began / 60:.1f} min  {fault.title} with seed {seed}: {why!r}")
        await _as_before(world)
        return
    await asyncio.sleep(COOLDOWN_SECONDS)
    await run.samples.take(at_rest=True)
    run.episodes.append(episode)
    held = ", ".join(f"{value:.0f} {name}" for name, value in run.samples.taken[-1].figures.items())
    print(f"{began / 60:5.1f} min  {episode}; then {held}", flush=True)
    for why_not in episode.trouble:
        _tell(run, f"{began / 60:.1f} min  {fault.title} with seed {seed}: {why_not}")


async def _as_before(world: World) -> None:
    """Start what a fault that went wrong has left ended, so that the next one finds a whole world."""
    await world.set_oracle(fault=None)
    for replica in world.replicas:
        if replica.exit_status() is not None:
            await replica.start()


def _tell(run: Run, why: str) -> None:
    run.trouble.append(why)
    print(f"NOT WELL  {why}", flush=True)


@asynccontextmanager
async def _sampling(samples: Samples) -> AsyncIterator[None]:
    sampling = asyncio.create_task(samples.run())
    try:
        yield
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling


def _grown(run: Run) -> list[str]:
    try:
        run.growth = run.samples.growth(JUDGED)
    except ValueError as why:
        return [str(why)]
    return [
        f"{name} grew by {by:.1f}, more than {MOST_GROWTH[name]:g}; more of: {run.samples.more_running(JUDGED)}"
        for name, by in run.growth.items()
        if by > MOST_GROWTH[name]
    ]
