"""The soak run: one random fault scenario after another on the same two replicas, and the failures of each."""
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
from tests.soak.samples import MAX_GROWTH, Samples

COUNTED = (sys.executable, "-m", "tests.soak.counted")
FORM = Form(command=COUNTED, redis="slow", clock=True)
"""The processes of the run: two replicas that report their tasks, a Redis behind a proxy, and adjustable clocks."""

FAULTS = tuple(
    scenario
    for scenario in SCENARIOS
    if scenario.fault is not rolled_over
    and scenario.form in (USUAL, replace(USUAL, redis="slow"), replace(USUAL, clock=True))
)
"""The scenarios that run with FORM and leave the second replica running, because its growth is checked."""

JUDGED = 1
"""The index of the replica whose growth is checked."""

LENGTHS = (0.5, 1.5)
"""The range of a fault's duration, as a multiple of the scenario's."""

MAX_SECONDS = 240.0
"""The time limit of one fault."""

COOLDOWN_SECONDS = 3.0
"""The pause after a fault before the sample at rest."""


@dataclass(slots=True)
class Run:
    """The results of a run.

    samples: resource usage over time.
    episodes: the result of each fault.
    growth: by figure, from the second third of the run to the last; empty if the run was too short.
    trouble: everything that is not well, as sentences.
    """

    seed: int
    samples: Samples = field(default_factory=Samples)
    episodes: list[Episode] = field(default_factory=list)
    growth: dict[str, float] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)


async def soak(run: Run, minutes: float) -> None:
    """Inject one fault after another for `minutes`, and record the results in `run`.

    An exception that ends the run early is recorded as trouble, so that earlier results are kept.
    """
    try:
        async with running(FORM) as world:
            run.samples.begin(world.replicas)
            async with _sampling(run.samples):
                await _break_in_turn(world, minutes, run)
    except Exception as exc:  # noqa: BLE001 - the report is worth more than the traceback
        run.trouble.append(f"the soak ended early: {exc!r}")
    run.trouble.extend(_grown(run))


async def _break_in_turn(world: World, minutes: float, run: Run) -> None:
    random = Random(run.seed)
    faults = _faults(random)
    while run.samples.elapsed_seconds < minutes * 60:
        await _break(world, next(faults), random, run)


def _faults(random: Random) -> Iterator[Scenario]:
    """Yield each fault once in random order, then random ones without end.

    The first round includes the faults with the largest responses, so that memory peaks before growth is measured.
    """
    return chain(random.sample(FAULTS, len(FAULTS)), iter(lambda: random.choice(FAULTS), None))


async def _break(world: World, scenario: Scenario, random: Random, run: Run) -> None:
    """Run one scenario with a random duration and seed, then sample the replicas at rest."""
    fault = replace(scenario, seconds=scenario.seconds * random.uniform(*LENGTHS))
    began, seed = run.samples.elapsed_seconds, random.getrandbits(32)
    try:
        async with asyncio.timeout(MAX_SECONDS):
            episode = await play(world, fault, seed)
    except Exception as exc:  # noqa: BLE001 - the run goes on with the next fault
        _report(run, f"{began / 60:.1f} min  {fault.title} with seed {seed}: {exc!r}")
        await _repair(world)
        return
    await asyncio.sleep(COOLDOWN_SECONDS)
    await run.samples.take(at_rest=True)
    run.episodes.append(episode)
    held = ", ".join(f"{value:.0f} {name}" for name, value in run.samples.taken[-1].figures.items())
    print(f"{began / 60:5.1f} min  {episode}; then {held}", flush=True)
    for why_not in episode.trouble:
        _report(run, f"{began / 60:.1f} min  {fault.title} with seed {seed}: {why_not}")


async def _repair(world: World) -> None:
    """Clear the backend's fault and restart ended replicas, after a scenario that raised an exception."""
    await world.set_oracle(fault=None)
    for replica in world.replicas:
        if replica.exit_status() is not None:
            await replica.start()


def _report(run: Run, why: str) -> None:
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
        f"{name} grew by {by:.1f}, more than {MAX_GROWTH[name]:g}; more of: {run.samples.more_running(JUDGED)}"
        for name, by in run.growth.items()
        if by > MAX_GROWTH[name]
    ]
