# ruff: noqa: T201 - a report
"""`python -m tests.soak`: faults at random under a mixed load; end with 1 where a replica grows or a call is lost."""

import asyncio
import contextlib
import json
import secrets
from argparse import ArgumentParser
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from random import Random
from typing import Any

from tests.faults.play import Episode, aftermath, play
from tests.faults.scenarios import SCENARIOS, Scenario, rolled_over
from tests.faults.world import STEPPED, World
from tests.soak.plot import plot
from tests.soak.samples import MOST_GROWTH, Samples
from tests.support.documents import OUT

FAULTS = tuple(
    scenario
    for scenario in SCENARIOS
    if not (scenario.arguments or scenario.log or scenario.redis_form == "sentinel" or scenario.broken is rolled_over)
)
"""The scenarios that need no world of their own and leave the second replica running: its growth is what is judged."""

JUDGED = 1
FAULT_SECONDS = (1.0, 6.0)
REST_SECONDS = 3.0


@dataclass
class Run:
    """One run: what became of the calls, what was sampled, and what is not well, in words."""

    seed: int
    samples: Samples
    episodes: list[Episode] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


async def soak(minutes: float, seed: int) -> Run:
    """Let one fault follow another for so long: each once, so that the greatest answers come early, then any."""
    random = Random(seed)
    faults = chain(random.sample(FAULTS, len(FAULTS)), iter(lambda: random.choice(FAULTS), None))
    async with World(command=STEPPED, redis_form="slow") as world:
        run = Run(seed, Samples(world.replicas))
        sampling = asyncio.create_task(run.samples.run())
        while run.samples.elapsed_seconds < minutes * 60:
            await _break(world, next(faults), random, run)
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
        after = await aftermath(world)
    if not after.is_well:
        run.trouble.append(str(after))
    run.trouble.extend(_grown(run.samples))
    return run


async def _break(world: World, scenario: Scenario, random: Random, run: Run) -> None:
    """Break something, mend it, and look at what is held when all is at rest again."""
    fault = replace(scenario, seconds=random.uniform(*FAULT_SECONDS))
    began = run.samples.elapsed_seconds
    try:
        episode = await play(world, fault, random.getrandbits(32))
    except (AssertionError, TimeoutError) as why:
        run.trouble.append(f"{fault.group}: {fault.name}: {why!r}")
        return
    await asyncio.sleep(REST_SECONDS)
    await run.samples.take(at_rest=True)
    run.episodes.append(episode)
    run.trouble.extend(f"{fault.group}: {fault.name}: {why}" for why in episode.tally.bad)
    held = ", ".join(f"{value:.0f} {name}" for name, value in run.samples.taken[-1].figures.items())
    print(f"{began / 60:5.1f} min  {episode}; then {held}", flush=True)


def _grown(samples: Samples) -> list[str]:
    try:
        growth = samples.growth(JUDGED)
    except ValueError as why:
        return [str(why)]
    print("growth", ", ".join(f"{by:+.1f} {name}" for name, by in growth.items()))
    return [
        f"{name} grew by {by:.1f}, more than {MOST_GROWTH[name]:g}; more of: {samples.more_running(JUDGED)}"
        for name, by in growth.items()
        if by > MOST_GROWTH[name]
    ]


def main() -> int:
    """Return the exit status."""
    parser = ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="play the same faults and calls again")
    chosen = parser.parse_args()
    print(f"{chosen.minutes:g} minutes with --seed {chosen.seed}", flush=True)
    run = asyncio.run(soak(chosen.minutes, chosen.seed))
    _write(run)
    calls = sum(episode.tally.calls for episode in run.episodes)
    print(f"{calls:,} calls under {len(run.episodes)} faults; out/soak.json and out/soak.png")
    for why in run.trouble:
        print(f"NOT WELL  {why}")
    return 1 if run.trouble else 0


def _write(run: Run) -> None:
    OUT.mkdir(exist_ok=True)
    told: dict[str, Any] = {
        "seed": run.seed,
        "not well": run.trouble,
        "episodes": [str(episode) for episode in run.episodes],
        "samples": [asdict(sample) for sample in run.samples.taken],
    }
    (OUT / "soak.json").write_text(json.dumps(told, indent=1) + "\n")
    plot(run.samples, OUT / "soak.png")


if __name__ == "__main__":
    raise SystemExit(main())
