"""Rate limits per network address, for requests without authentication."""

from collections.abc import Callable

from cachetools import LRUCache

from app.services.limits.networks import network_of

MAX_ADDRESSES = 10_000
"""Addresses that are remembered, about 200 bytes each. The least recently used is evicted."""


class AddressLimit:
    """Counts events per address and in total in fixed windows, in this process only."""

    def __init__(
        self,
        per_address: int,
        in_all: int,
        seconds: float,
        clock: Callable[[], float],
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        """Allow so many events in each window of `seconds`. `clock` is monotonic. `refused` is called per refusal."""
        self._refused = refused
        self._per_address = per_address
        self._in_all = in_all
        self._seconds = seconds
        self._clock = clock
        self._counts: LRUCache[str, int] = LRUCache(MAX_ADDRESSES)
        self._total = 0
        self._window_ends = -1.0

    def take(self, address: str) -> float | None:
        """Count an event of `address` and return None. Over a limit, return the seconds until the next window.

        Refused events are not counted, so refusals of one address do not use up the total.
        """
        now = self._clock()
        if now >= self._window_ends:
            self._counts.clear()
            self._total, self._window_ends = 0, now + self._seconds
        network = network_of(address)
        count = self._counts.get(network, 0)
        if count >= self._per_address or self._total >= self._in_all:
            self._refused()
            return self._window_ends - now
        self._counts[network] = count + 1
        self._total += 1
        return None

    def give_back(self, address: str) -> None:
        """Take back one counted event of `address`."""
        network = network_of(address)
        if self._counts.get(network, 0) > 0:
            self._counts[network] -= 1
            self._total -= 1
