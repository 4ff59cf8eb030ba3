# ruff: noqa: T201 - a report
"""`python -m tests.faults`: break everything in turn; end with 1 where a call is lost, untrue or paid for twice."""

import asyncio
import time
from argparse import ArgumentParser
from dataclasses import dataclass

from tests.faults.crowd import Crowd, Tally
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.world import World
from tests.support.documents import FOLDER, update

DOCUMENT = FOLDER / "reliability.md"
WARM_SECONDS = 1.0
AFTER_SECONDS = 1.5
SECRETS = ("secret-token", "secret prompt", "cdn.example.com")
"""What no log may hold."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scenario came to. `recovered` is in seconds from the end of the fault; 0 where nothing was amiss."""

    scenario: Scenario
    tally: Tally
    bought_twice: int
    recovered: float
    leaks: int

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost, untrue, paid for twice or told to the log."""
        return not (self.tally.lost or self.tally.wrong or self.bought_twice or self.leaks)


async def play(scenario: Scenario, seed: int) -> Outcome:
    """Run one scenario from beginning to end."""
    async with World(
        command=scenario.command,
        arguments=scenario.arguments,
        log=scenario.log,
        redis_form=scenario.redis_form,
    ) as world:
        urls = [replica.url for replica in world.replicas]
        crowd = Crowd(urls, backend_is_faulty=scenario.backend_is_faulty, seed=seed)
        calling = asyncio.create_task(crowd.run())
        await asyncio.sleep(WARM_SECONDS)
        before = crowd.tally.last_trouble_at
        async with scenario.broken(world):
            await asyncio.sleep(scenario.seconds)
        lifted = time.monotonic()
        await asyncio.sleep(AFTER_SECONDS)
        crowd.stop()
        await calling
        troubled = crowd.tally.last_trouble_at
        recovered = max(0.0, troubled - lifted) if troubled > before else 0.0
        bought = await world.bought()
        logged = world.logged()
        leaks = sum(logged.count(secret) for secret in SECRETS) + logged.count("Traceback")
        return Outcome(scenario, crowd.tally, sum(times > 1 for times in bought.values()), recovered, leaks)


def main() -> int:
    """Return the exit status."""
    parser = ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--update", action="store_true", help="write the table into docs/reliability.md")
    chosen = parser.parse_args()
    outcomes, started = [], time.monotonic()
    for scenario in SCENARIOS:
        if chosen.only.lower() in f"{scenario.group}: {scenario.name}".lower():
            outcomes.append(asyncio.run(play(scenario, chosen.seed)))
            _tell(outcomes[-1])
    well = sum(outcome.is_well for outcome in outcomes)
    print(f"{well} of {len(outcomes)} scenarios are well; {time.monotonic() - started:.0f} s")
    if chosen.update:
        update(DOCUMENT, {"faults": table(outcomes)})
    return 0 if well == len(outcomes) else 1


def _tell(outcome: Outcome) -> None:
    tally = outcome.tally
    print(
        f"{'well' if outcome.is_well else 'NOT WELL':9} {outcome.scenario.group}: {outcome.scenario.name}: "
        f"{tally.calls} calls, {tally.lost} lost, {tally.wrong} wrong, {outcome.bought_twice} bought twice, "
        f"{outcome.leaks} leaks, {tally.unavailable} unavailable, recovered in {outcome.recovered:.2f} s, "
        f"slowest {tally.slowest:.2f} s {dict(tally.codes)}",
        flush=True,
    )
    for why in tally.bad:
        print(f"          {why}")


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a table of Markdown."""
    head = "| what breaks | calls | lost | wrong | bought twice | ids put off | slowest call | back to normal |"
    lines = [head, "|---" * 8 + "|"]
    for outcome in outcomes:
        tally = outcome.tally
        lines.append(
            f"| {outcome.scenario.group}: {outcome.scenario.name} | {tally.calls:,} | {tally.lost} | {tally.wrong} "
            f"| {outcome.bought_twice} | {tally.unavailable:,} | {tally.slowest:.2f} s | {outcome.recovered:.1f} s |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
