"""Limits the number of task ids that are queued for the backend or being read, because each takes memory."""

import logging
from collections.abc import Callable
from functools import partial

from app.domain.backend import BackendDescription
from app.domain.errors import RateLimited
from app.ports.telemetry import Telemetry
from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.log_throttle import LogThrottle

MAX_PER_TENANT = 2_400
MAX_IN_TOTAL = 6_000
"""Limits in ids. An id takes about 1 KB with its asyncio tasks, and 7 KB if its prompt is long."""

MAX_UNACCEPTED = 4_000
"""Limit in ids for all tenants together whose token the backend has not accepted lately. Anybody can invent tokens."""

LOOKUP_WEIGHT = 4
"""Overhead of a lookup, counted as this many ids."""

RETRY_AFTER_SECONDS = 10.0

TENANT_IS_FULL = (
    f"The calls of this token together ask {{backend}} about too many task ids at once (limit: {MAX_PER_TENANT}). "
    "Nothing is lost: ask again when the calls in flight are answered, for fewer ids at a time."
)
SERVICE_IS_FULL = (
    "All calls to this service together ask {backend} about too many task ids at once. Nothing is lost: ask again "
    "shortly, for fewer ids at a time."
)

log = logging.getLogger(__name__)


class QueuedIds:
    """Counts the ids that are queued or being read. Tenants without such ids take no memory."""

    def __init__(
        self,
        backend: BackendDescription,
        telemetry: Telemetry,
        clock: Callable[[], float],
        is_accepted: Callable[[str], bool],
    ) -> None:
        """Name `backend` in refusals, and count refusals in `telemetry`.

        `clock` is monotonic, in seconds. `is_accepted` returns whether the backend accepted a tenant's token lately.
        """
        self._backend = backend
        self._telemetry = telemetry
        self._throttle = LogThrottle(clock)
        self._quota = CallerQuota(QuotaLimits(MAX_IN_TOTAL, MAX_PER_TENANT, MAX_UNACCEPTED), is_accepted)

    def add(self, tenant: str, count: int) -> Callable[[], None]:
        """Add a lookup of `count` ids, and return a function that removes it. Raises RateLimited over a limit."""
        weight = count + LOOKUP_WEIGHT
        if not self._quota.take(tenant, weight):
            is_tenant_full = self._quota.held_by(tenant) + weight > MAX_PER_TENANT
            raise self._refusal(TENANT_IS_FULL if is_tenant_full else SERVICE_IS_FULL)
        return partial(self._quota.give_back, tenant, weight)

    @property
    def is_empty(self) -> bool:
        """Whether no id is queued or being read."""
        return not self._quota.in_use

    def _refusal(self, sentence: str) -> RateLimited:
        self._telemetry.call_withheld("queue_full")
        if (count := self._throttle.count()) is not None:
            log.warning(
                "Lookups are refused with rate_limited: too many task ids wait for %s (%d of %d in total; %d refusals "
                "since the last such line). Others are served",
                self._backend.name,
                self._quota.in_use,
                MAX_IN_TOTAL,
                count,
            )
        return RateLimited(self._backend.say(sentence), retry_after_seconds=RETRY_AFTER_SECONDS)
