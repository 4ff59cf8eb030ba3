"""What a replica holds, over time: memory, descriptors and asyncio tasks; and whether any of them grows."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import httpx
import psutil

from tests.faults.replica import Replica
from tests.soak.counted import TASKS_PATH

SECONDS_BETWEEN = 1.0
MOST_GROWTH = {"MB": 6.0, "descriptors": 8.0, "asyncio tasks": 4.0}
"""How far the median of the last third of a run may lie above that of the second; the first is for warming up."""

FEWEST_AT_REST = 9


@dataclass(frozen=True, slots=True)
class Sample:
    """What one replica held, `at` so many seconds after the start. `running` counts its tasks by their coroutine."""

    at: float
    replica: int
    at_rest: bool
    figures: dict[str, float]
    running: dict[str, int]


@dataclass
class Samples:
    """Everything sampled in one run."""

    replicas: Sequence[Replica] = ()
    taken: list[Sample] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def begin(self, replicas: Sequence[Replica]) -> None:
        """Sample these from now on."""
        self.replicas, self.started = replicas, time.monotonic()

    @property
    def elapsed_seconds(self) -> float:
        """How long the run has taken so far."""
        return time.monotonic() - self.started

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            await self.take(at_rest=False)
            await asyncio.sleep(SECONDS_BETWEEN)

    async def take(self, *, at_rest: bool) -> None:
        """Sample each replica; one that is being started anew, or cannot answer just now, is left out."""
        async with httpx.AsyncClient(timeout=5) as client:
            for number, replica in enumerate(self.replicas):
                try:
                    running = Counter((await client.get(f"{replica.url}{TASKS_PATH}")).json())
                    megabytes, descriptors = replica.process.memory_info().rss / 1e6, replica.process.num_fds()
                except (httpx.TransportError, psutil.Error, ValueError):
                    continue
                figures = {"MB": megabytes, "descriptors": descriptors, "asyncio tasks": running.total()}
                self.taken.append(Sample(self.elapsed_seconds, number, at_rest, figures, dict(running)))

    def growth(self, replica: int) -> dict[str, float]:
        """Return by how much each figure of a replica grew, at rest, from the second third of the run to the last.

        Raises ValueError where the run was too short to tell.
        """
        second, last = self._thirds(replica)
        return {
            name: median(sample.figures[name] for sample in last) - median(sample.figures[name] for sample in second)
            for name in MOST_GROWTH
        }

    def more_running(self, replica: int) -> dict[str, int]:
        """Return which tasks there were more of at the end than in the middle of the run, by their coroutine."""
        second, last = self._thirds(replica)
        return dict(Counter(last[-1].running) - Counter(second[0].running))

    def _thirds(self, replica: int) -> tuple[list[Sample], list[Sample]]:
        resting = [sample for sample in self.taken if sample.at_rest and sample.replica == replica]
        if len(resting) < FEWEST_AT_REST:
            raise ValueError(f"{len(resting)} moments of rest are too few to see growth: let it run for longer.")
        third = len(resting) // 3
        return resting[third : 2 * third], resting[2 * third :]
