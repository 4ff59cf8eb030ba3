"""Which tasks a caller asks about: a few hundred that everybody knows, and others that nobody has asked about yet."""

import itertools
from random import Random

HOT = 300
"""Tasks that are asked about again and again, under every token, some far more often than others."""

KINDS = "fffxru"
"""The kinds of tasks, by the first letter of their ids: finished, failed, running, unknown."""

SIZES = (1, 3, 20, 60)
COLD_SHARE = 0.3
COLD_SIZES = (1, 8, 70)
"""The last of them takes two questions to the backend."""


class Ids:
    """The ids that one caller asks about, all with a mark of their crowd's own."""

    def __init__(self, mark: str, caller: int, random: Random) -> None:
        """Draw by `random`: what a replica remembers of an earlier crowd says nothing of its store."""
        self._mark = mark
        self._caller = caller
        self._random = random
        self._cold = itertools.count()

    def some(self) -> list[str]:
        """Return the ids of a batch, each once."""
        if self._random.random() < COLD_SHARE:
            return [self.cold() for _ in range(self._random.choice(COLD_SIZES))]
        return list(dict.fromkeys(self.hot() for _ in range(self._random.choice(SIZES))))

    def hot(self) -> str:
        """Return one of those that everybody knows; the first are the favourites."""
        number = int(HOT * self._random.random() ** 2)
        return f"{KINDS[number % len(KINDS)]}-{self._mark}-{number}"

    def cold(self) -> str:
        """Return one that nobody has asked about."""
        number = next(self._cold)
        return f"{KINDS[number % len(KINDS)]}-{self._mark}-{self._caller}c{number}"
