"""Rate limits per network address, for requests without authentication.

All addresses together are limited too. A crowd of strangers cannot lock out everybody, because that second limit does
not refuse requests of trusted networks: those with a successful request in the last 30 days.
"""

from collections.abc import Callable

from cachetools import LRUCache, TTLCache

from app.services.limits.networks import network_of

MAX_ADDRESSES = 10_000
"""Maximum number of addresses in the cache, about 200 bytes each. The least recently used is evicted."""

TRUSTED_SECONDS = 30 * 86_400.0
"""Time for which a network is trusted after a request of it succeeded."""


class AddressLimit:
    """Counts requests per address and in total in fixed windows, in this process only.

    An IPv6 address counts as its /64 network.
    """

    def __init__(  # noqa: PLR0913 - two limits with their windows
        self,
        per_address: int,
        in_all: int,
        seconds: float,
        clock: Callable[[], float],
        on_refusal: Callable[[], None] = lambda: None,
        *,
        total_seconds: float | None = None,
    ) -> None:
        """Allow `per_address` requests of one address in each window of `seconds`, and `in_all` requests together.

        Requests of trusted networks count towards `in_all`, but only `per_address` refuses them.

        `total_seconds` is the window of `in_all`; None means `seconds`. `clock` is monotonic. `on_refusal` is called
        for each refusal.
        """
        self._on_refusal = on_refusal
        self._per_address = per_address
        self._in_all = in_all
        self._seconds = seconds
        self._clock = clock
        self._total_seconds = seconds if total_seconds is None else total_seconds
        self._counts: LRUCache[str, int] = LRUCache(MAX_ADDRESSES)
        self._trusted: TTLCache[str, None] = TTLCache(MAX_ADDRESSES, TRUSTED_SECONDS, timer=clock)
        self._total = 0
        self._window_ends = self._total_ends = -1.0

    def take(self, address: str) -> float | None:
        """Count a request of `address` and return None. If a limit is reached, return the seconds to its next window.

        Refused requests are not counted, so refusals of one address do not use up the total.
        """
        now = self._clock()
        if now >= self._window_ends:
            self._counts.clear()
            self._window_ends = now + self._seconds
        if now >= self._total_ends:
            self._total, self._total_ends = 0, now + self._total_seconds
        network = network_of(address)
        count = self._counts.get(network, 0)
        if count >= self._per_address:
            self._on_refusal()
            return self._window_ends - now
        if self._total >= self._in_all and network not in self._trusted:
            self._on_refusal()
            return self._total_ends - now
        self._counts[network] = count + 1
        self._total += 1
        return None

    def trust(self, address: str) -> None:
        """Trust the network of `address`: a request from there succeeded that a stranger could not have sent."""
        self._trusted[network_of(address)] = None

    def give_back(self, address: str) -> None:
        """Subtract one counted request of `address`."""
        network = network_of(address)
        if self._counts.get(network, 0) > 0:
            self._counts[network] -= 1
            self._total = max(0, self._total - 1)
