"""The task ids that a caller asks about: hot ones, which all callers share, and cold ones, which are used once."""

import itertools
from random import Random

HOT = 300
"""The number of hot ids. Low numbers are drawn far more often than high ones."""

KINDS = "fffxru"
"""First letters of ids, by frequency: f finished, x failed, r running, u unknown."""

SIZES = (1, 3, 20, 60)
COLD_SHARE = 0.3
"""The share of batches with cold ids only."""

COLD_SIZES = (1, 8, 70)
"""The largest one takes two requests to the backend, which answers about 50 ids at once."""


class Ids:
    """A generator of ids for one caller. Each id contains `mark`, which is the crowd's own.

    Replicas thus have nothing in memory from an earlier crowd.
    """

    def __init__(self, mark: str, caller: int, random: Random) -> None:
        """Draw ids with `random`; `caller` is the number of the caller in its crowd."""
        self._mark = mark
        self._caller = caller
        self._random = random
        self._cold = itertools.count()

    def some(self) -> list[str]:
        """Return the ids of one batch, without duplicates."""
        if self._random.random() < COLD_SHARE:
            return [self.cold() for _ in range(self._random.choice(COLD_SIZES))]
        return list(dict.fromkeys(self.hot() for _ in range(self._random.choice(SIZES))))

    def hot(self) -> str:
        """Return a hot id."""
        number = int(HOT * self._random.random() ** 2)
        return f"{KINDS[number % len(KINDS)]}-{self._mark}-{number}"

    def cold(self) -> str:
        """Return an id that no caller has used before."""
        number = next(self._cold)
        return f"{KINDS[number % len(KINDS)]}-{self._mark}-{self._caller}c{number}"
