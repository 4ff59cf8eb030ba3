"""Throttles refused tokens by network address, so that a flood of them causes no look-ups.

A shared address, such as that of an office, also sends valid tokens. While an address is over its limit, a token that
was accepted in this process is therefore checked as usual, and a token that was refused within the last minute is not
checked. Of all other tokens, one is checked each second.
"""

import logging
from collections.abc import Callable

from cachetools import LRUCache, TTLCache

from app.services.limits.networks import network_of
from app.services.log_throttle import LogThrottle

PERIOD_SECONDS = 60.0
"""Period of the limit, and time for which a refused token is remembered."""

TRIAL_SECONDS = 1.0
"""Interval at which one unknown token of an address over its limit is checked."""

MAX_ADDRESSES = 10_000
MAX_TOKENS = 10_000
"""Sizes of the caches of addresses and of refused tokens, about 200 bytes an entry."""

log = logging.getLogger(__name__)


class RefusedTokens:
    """Counts refused tokens by address, in this process only. An address without refused tokens takes no memory."""

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float],
        *,
        name: Callable[[str], str],
        is_trusted: Callable[[str, str], bool],
        throttled: Callable[[], None],
    ) -> None:
        """Allow `limit` refused tokens a minute from one address. `clock` is monotonic, in seconds.

        `name` returns the keyed hash of a token. `is_trusted` is called with a token and that hash, and returns whether
        the token was accepted in this process, or has a form that is never refused. `throttled` is called for each
        token that is not to be checked.
        """
        self._limit = limit
        self._interval = PERIOD_SECONDS / limit
        self._clock = clock
        self._name = name
        self._is_trusted = is_trusted
        self._throttled = throttled
        self._spent_until: LRUCache[str, float] = LRUCache(MAX_ADDRESSES)
        """By address: the theoretical arrival time of GCRA, at which its refused tokens no longer count."""
        self._trial_at: LRUCache[str, float] = LRUCache(MAX_ADDRESSES)
        self._refused: TTLCache[str, None] = TTLCache(MAX_TOKENS, PERIOD_SECONDS, timer=clock)
        self._bursts = LogThrottle(clock)

    def throttle(self, address: str | None, token: str) -> float | None:
        """Return None if `token` is to be checked. Otherwise count and log it, and return the seconds to wait."""
        if not self._spent_until:
            return None
        network, now = network_of(address), self._clock()
        wait = self._spent_until.get(network, now) - now - PERIOD_SECONDS + self._interval
        if wait <= 0 or self._admit(network, token, now):
            return None
        self._throttled()
        if (count := self._bursts.count()) is not None:
            log.warning(
                "More than %d tokens a minute from %s were refused (LUMA_MCP_REFUSED_TOKENS_PER_MINUTE): further ones "
                "get 429 and are not looked up (%d since the last such line). Tokens that were accepted here get "
                "through. If this is the address of a proxy of yours, name it in LUMA_MCP_TRUSTED_PROXIES",
                self._limit,
                network,
                count,
            )
        return wait

    def record_refused(self, address: str | None, token: str) -> None:
        """Count a token that was checked and refused."""
        network, now = network_of(address), self._clock()
        spent_until = max(self._spent_until.get(network, now), now) + self._interval
        self._spent_until[network] = min(spent_until, now + PERIOD_SECONDS)
        self._refused[self._name(token)] = None

    def _admit(self, network: str, token: str, now: float) -> bool:
        """Return whether a token is checked although its address is over the limit. One trial a second is used up."""
        name = self._name(token)
        if name in self._refused:
            return False
        if self._is_trusted(token, name):
            return True
        if now < self._trial_at.get(network, now):
            return False
        self._trial_at[network] = now + TRIAL_SECONDS
        return True
