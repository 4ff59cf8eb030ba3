"""Throttles the refused tokens of one network address, so that a flood of them is not looked up.

A shared address, such as that of an office, also sends valid tokens. So only refused tokens are throttled: while an
address is over its limit, a token that was accepted in this process gets through, one that was refused within the last
minute does not, and of all others one is checked each second.
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from cachetools import LRUCache, TTLCache

from app.services.log_throttle import LogThrottle

PERIOD_SECONDS = 60.0
TRIAL_SECONDS = 1.0
"""Interval at which a token that is not known is checked, although its address is over the limit."""

IPV6_PREFIX = 64
"""Bits of an IPv6 address that count: a customer of a provider has all addresses behind them."""

LONGEST_ADDRESS = 64
"""Characters. A proxy passes on what a client calls its address; longer ones are no IP addresses."""

MOST_ADDRESSES = 10_000
MOST_TOKENS = 10_000
"""Addresses and refused tokens that are remembered, about 200 bytes each."""

UNKNOWN = "unknown"
"""Stands for all clients without an IP address, such as those of a Unix socket."""

log = logging.getLogger(__name__)


class RefusedTokens:
    """Counts refused tokens by address, in this process only. An address that sends none costs nothing."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float],
        *,
        name: Callable[[str], str],
        is_trusted: Callable[[str, str], bool],
        throttled: Callable[[], None],
    ) -> None:
        """Allow `most` refused tokens a minute from one address. `clock` is monotonic, in seconds.

        `name` returns a keyed hash of a token. `is_trusted` takes a token and that hash, and returns whether the token
        was accepted here, or is of a form that is never refused. `throttled` is called for each token that is not
        checked.
        """
        self._most = most
        self._interval = PERIOD_SECONDS / most
        self._clock = clock
        self._name = name
        self._is_trusted = is_trusted
        self._throttled = throttled
        self._spent_until: LRUCache[str, float] = LRUCache(MOST_ADDRESSES)
        """By address: the time at which all of its refused tokens are forgotten, one after another (GCRA)."""
        self._trial_at: LRUCache[str, float] = LRUCache(MOST_ADDRESSES)
        self._refused: TTLCache[str, None] = TTLCache(MOST_TOKENS, PERIOD_SECONDS, timer=clock)
        self._bursts = LogThrottle(clock)

    def wait_seconds(self, address: str | None, token: str) -> float | None:
        """Return None if `token` is to be checked; else how long its address must wait."""
        if not self._spent_until:
            return None
        network, now = network_of(address), self._clock()
        wait = self._spent_until.get(network, now) - now - PERIOD_SECONDS + self._interval
        if wait <= 0 or self._may_pass(network, token, now):
            return None
        self._throttled()
        if (count := self._bursts.count()) is not None:
            log.warning(
                "More than %d tokens a minute from %s were refused (LUMA_MCP_REFUSED_TOKENS_PER_MINUTE): further ones "
                "get 429 and are not looked up (%d since the last such line). Tokens that were accepted here get "
                "through. If this is the address of a proxy of yours, name it in LUMA_MCP_TRUSTED_PROXIES",
                self._most,
                network,
                count,
            )
        return wait

    def note(self, address: str | None, token: str) -> None:
        """Count a token that was refused."""
        network, now = network_of(address), self._clock()
        spent_until = max(self._spent_until.get(network, now), now) + self._interval
        self._spent_until[network] = min(spent_until, now + PERIOD_SECONDS)
        self._refused[self._name(token)] = None

    def _may_pass(self, network: str, token: str, now: float) -> bool:
        name = self._name(token)
        if name in self._refused:
            return False
        if self._is_trusted(token, name):
            return True
        if now < self._trial_at.get(network, now):
            return False
        self._trial_at[network] = now + TRIAL_SECONDS
        return True


def network_of(address: str | None) -> str:
    """Return what an address is counted as: an IPv4 address, the network of an IPv6 address, or UNKNOWN."""
    return UNKNOWN if address is None or len(address) > LONGEST_ADDRESS else _network(address)


@lru_cache(1024)
def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return UNKNOWN
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), IPV6_PREFIX), strict=False))
