"""Throttles refused tokens by network address, so that a flood of them causes few look-ups.

A shared address, such as that of an office, also sends valid tokens. While an address is over its limit, a token that
was accepted in this process is therefore checked as usual, and a token that was refused within the last minute is not
checked. Of all other tokens from the address, one is checked each second.

An IPv6 address counts as its /64 network (see `networks`).
"""

import logging
from collections.abc import Callable

from cachetools import LRUCache, TTLCache

from app.services.limits.networks import network_of
from app.services.log_throttle import LogThrottle

PERIOD_SECONDS = 60.0
"""Period of the limit, and time for which a refused token is cached."""

TRIAL_SECONDS = 1.0
"""Interval of trials: a trial is the check of one unknown token of a network over its limit."""

MAX_ADDRESSES = 10_000
MAX_TOKENS = 10_000
"""Sizes of the caches of networks and of refused tokens, about 200 bytes an entry."""

log = logging.getLogger(__name__)


class RefusedTokens:
    """Counts refused tokens by network, in this process only. A network without refused tokens takes no memory."""

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float],
        *,
        hash_token: Callable[[str], str],
        is_exempt: Callable[[str, str], bool],
        on_throttled: Callable[[], None],
    ) -> None:
        """Allow `limit` refused tokens a minute from one address. `clock` is monotonic, in seconds.

        `hash_token` returns the keyed hash of a token. `is_exempt` is called with a token and its hash, and returns
        whether the token was accepted in this process, or can be refused by the backend only. `on_throttled` is called
        for each token that is not to be checked.
        """
        self._limit = limit
        self._interval = PERIOD_SECONDS / limit
        self._clock = clock
        self._hash_token = hash_token
        self._is_exempt = is_exempt
        self._on_throttled = on_throttled
        self._spent_until: LRUCache[str, float] = LRUCache(MAX_ADDRESSES)
        """By network: the theoretical arrival time of GCRA, at which its refused tokens no longer count."""
        self._trial_at: LRUCache[str, float] = LRUCache(MAX_ADDRESSES)
        """By network: the time of the next trial."""
        self._refused: TTLCache[str, None] = TTLCache(MAX_TOKENS, PERIOD_SECONDS, timer=clock)
        self._log_throttle = LogThrottle(clock)

    def throttle(self, address: str | None, token: str) -> float | None:
        """Return None if `token` is to be checked. Otherwise count and log it, and return the seconds for Retry-After.

        If the network is over its limit, a token that is neither known nor exempt uses up the trial of this second.
        """
        if not self._spent_until:
            return None
        network, now = network_of(address), self._clock()
        wait = self._spent_until.get(network, now) - now - PERIOD_SECONDS + self._interval
        if wait <= 0 or self._admit(network, token, now):
            return None
        self._on_throttled()
        if (throttled_count := self._log_throttle.count()) is not None:
            log.warning(
                "More than %d tokens a minute from %s were refused (LUMA_MCP_REFUSED_TOKENS_PER_MINUTE): further ones "
                "get 429 and are not looked up (%d tokens since the last such line). Tokens that were accepted here "
                "get through. If this is the address of a proxy of yours, name it in LUMA_MCP_TRUSTED_PROXIES",
                self._limit,
                network,
                throttled_count,
            )
        return wait

    def record_refused(self, address: str | None, token: str) -> None:
        """Count a token that was checked and refused."""
        network, now = network_of(address), self._clock()
        spent_until = max(self._spent_until.get(network, now), now) + self._interval
        self._spent_until[network] = min(spent_until, now + PERIOD_SECONDS)
        self._refused[self._hash_token(token)] = None

    def _admit(self, network: str, token: str, now: float) -> bool:
        """Return whether a token is checked although its network is over the limit.

        An unknown token is checked only as the trial of this second, which it uses up.
        """
        token_hash = self._hash_token(token)
        if token_hash in self._refused:
            return False
        if self._is_exempt(token, token_hash):
            return True
        if now < self._trial_at.get(network, now):
            return False
        self._trial_at[network] = now + TRIAL_SECONDS
        return True
