"""One scenario from beginning to end: a load, a fault in the midst of it, and what became of the calls."""

import asyncio
import time
from dataclasses import dataclass

from tests.faults.crowd import Crowd, Tally
from tests.faults.scenarios import Scenario
from tests.faults.world import World

WARM_SECONDS = 1.0
AFTER_SECONDS = 1.5
SECRETS = ("secret-token", "secret prompt", "cdn.example.com")
"""What no log may hold."""


@dataclass(frozen=True, slots=True)
class Episode:
    """What became of the calls. `recovered` is in seconds from the end of the fault; 0 where nothing was amiss."""

    scenario: Scenario
    tally: Tally
    recovered: float

    def __str__(self) -> str:
        """Return the figures in a line."""
        tally = self.tally
        return (
            f"{self.scenario.group}: {self.scenario.name}: {tally.calls} calls, {tally.lost} lost, "
            f"{tally.wrong} wrong, {tally.unavailable} unavailable, recovered in {self.recovered:.2f} s, "
            f"slowest {tally.slowest:.2f} s {dict(tally.codes)}"
        )


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What shows only when all is over: videos bought more than once, and secrets or tracebacks in the logs."""

    bought_twice: int
    leaks: int

    @property
    def is_well(self) -> bool:
        """Whether there is nothing of the kind."""
        return not (self.bought_twice or self.leaks)

    def __str__(self) -> str:
        """Return the figures in words."""
        return f"{self.bought_twice} bought twice, {self.leaks} leaks"


async def play(world: World, scenario: Scenario, seed: int) -> Episode:
    """Let a crowd call, break what the scenario breaks, and lift it again.

    Raises AssertionError or TimeoutError where the service does not end, or come to rest, as the scenario expects.
    """
    urls = [replica.url for replica in world.replicas]
    crowd = Crowd(
        urls,
        backend_is_faulty=scenario.backend_is_faulty,
        patience_seconds=scenario.patience_seconds,
        seed=seed,
    )
    calling = asyncio.create_task(crowd.run())
    try:
        await asyncio.sleep(WARM_SECONDS)
        before = crowd.tally.last_trouble_at
        async with scenario.broken(world):
            await asyncio.sleep(scenario.seconds)
        lifted = time.monotonic()
        await asyncio.sleep(AFTER_SECONDS)
    finally:
        crowd.stop()
        await calling
    troubled = crowd.tally.last_trouble_at
    return Episode(scenario, crowd.tally, max(0.0, troubled - lifted) if troubled > before else 0.0)


async def aftermath(world: World) -> Aftermath:
    """Return what the backend was asked to make, and what the logs hold."""
    bought = await world.bought()
    leaks = sum(line.count(mark) for line in world.logged() for mark in (*SECRETS, "Traceback"))
    return Aftermath(sum(times > 1 for times in bought.values()), leaks)
