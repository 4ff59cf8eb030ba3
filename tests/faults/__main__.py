# ruff: noqa: T201 - a report
"""`python -m tests.faults`: break everything in turn; end with 1 where a call is lost, untrue or paid for twice."""

import asyncio
import time
from argparse import ArgumentParser
from dataclasses import dataclass

from tests.faults.play import Aftermath, Episode, aftermath, play
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.world import World
from tests.support.documents import FOLDER, update

DOCUMENT = FOLDER / "reliability.md"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scenario came to."""

    episode: Episode
    aftermath: Aftermath

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost, untrue, paid for twice or told to the log."""
        return self.episode.tally.is_well and self.aftermath.is_well


async def _in_a_world_of_its_own(scenario: Scenario, seed: int) -> Outcome:
    async with World(
        command=scenario.command,
        arguments=scenario.arguments,
        log=scenario.log,
        redis_form=scenario.redis_form,
    ) as world:
        episode = await play(world, scenario, seed)
        return Outcome(episode, await aftermath(world))


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
            outcomes.append(asyncio.run(_in_a_world_of_its_own(scenario, chosen.seed)))
            _tell(outcomes[-1])
    well = sum(outcome.is_well for outcome in outcomes)
    print(f"{well} of {len(outcomes)} scenarios are well; {time.monotonic() - started:.0f} s")
    if chosen.update:
        update(DOCUMENT, {"faults": table(outcomes)})
    return 0 if well == len(outcomes) else 1


def _tell(outcome: Outcome) -> None:
    print(f"{'well' if outcome.is_well else 'NOT WELL':9} {outcome.episode}, {outcome.aftermath}", flush=True)
    for why in outcome.episode.tally.bad:
        print(f"          {why}")


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a table of Markdown."""
    head = "| what breaks | calls | lost | wrong | bought twice | ids put off | slowest call | back to normal |"
    lines = [head, "|---" * 8 + "|"]
    for outcome in outcomes:
        scenario, tally = outcome.episode.scenario, outcome.episode.tally
        lines.append(
            f"| {scenario.group}: {scenario.name} | {tally.calls:,} | {tally.lost} | {tally.wrong} "
            f"| {outcome.aftermath.bought_twice} | {tally.unavailable:,} | {tally.slowest:.2f} s "
            f"| {outcome.episode.recovered:.1f} s |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
