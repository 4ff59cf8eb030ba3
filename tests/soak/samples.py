"""Resource usage of the replicas over time (memory, file descriptors, asyncio tasks), and its growth."""

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
MAX_GROWTH = {"MB": 6.0, "descriptors": 8.0, "asyncio tasks": 4.0}
"""The most that the median of the last third of a run may exceed that of the second. The first third is the warm-up."""

MIN_AT_REST = 9
"""The fewest samples at rest for a measurement of growth."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The resource usage of one replica.

    at: seconds since the start of the run.
    replica: index of the replica.
    at_rest: taken after a fault and a cooldown, without load.
    figures: by the names of MAX_GROWTH.
    running: number of asyncio tasks by their coroutine's name.
    """

    at: float
    replica: int
    at_rest: bool
    figures: dict[str, float]
    running: dict[str, int]


@dataclass
class Samples:
    """All samples of one run."""

    replicas: Sequence[Replica] = ()
    taken: list[Sample] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def begin(self, replicas: Sequence[Replica]) -> None:
        """Set the replicas to sample, and the start of the run."""
        self.replicas, self.started = replicas, time.monotonic()

    @property
    def elapsed_seconds(self) -> float:
        """The time since `begin`."""
        return time.monotonic() - self.started

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            await self.take(at_rest=False)
            await asyncio.sleep(SECONDS_BETWEEN)

    async def take(self, *, at_rest: bool) -> None:
        """Sample each replica; those that do not answer are left out."""
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
        """Return the growth of each figure of a replica, at rest, from the second third of the run to the last.

        Raises ValueError if there are fewer than MIN_AT_REST samples at rest.
        """
        second, last = self._thirds(replica)
        return {
            name: median(sample.figures[name] for sample in last) - median(sample.figures[name] for sample in second)
            for name in MAX_GROWTH
        }

    def more_running(self, replica: int) -> dict[str, int]:
        """Return the increase of asyncio tasks from the second third of the run to its end, by coroutine name."""
        second, last = self._thirds(replica)
        return dict(Counter(last[-1].running) - Counter(second[0].running))

    def _thirds(self, replica: int) -> tuple[list[Sample], list[Sample]]:
        resting = [sample for sample in self.taken if sample.at_rest and sample.replica == replica]
        if len(resting) < MIN_AT_REST:
            raise ValueError(
                f"Growth was not measured: {len(resting)} samples at rest, fewer than {MIN_AT_REST}. Run for longer."
            )
        third = len(resting) // 3
        return resting[third : 2 * third], resting[2 * third :]
