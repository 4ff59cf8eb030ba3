"""Who waits for what in this process: one watch per token, shared by all who wait with it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.domain.principal import Principal
from app.ports.coordination import EventKind
from app.services.polling.events import unpack
from app.services.polling.poller import PollerDependencies, TenantPoller
from app.services.polling.subscription import Subscription


class PollerRegistry:
    """The watches of this process, one for each token that somebody waits with."""

    def __init__(self, parts: PollerDependencies) -> None:
        """Watch with `parts`."""
        self._parts = parts
        self._watches: dict[str, TenantPoller] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._unsubscribe = parts.coordination.subscribe(EventKind.TASKS, self._hear)

    @property
    def callers(self) -> int:
        """How many callers wait here now."""
        return sum(watch.callers for watch in self._watches.values())

    @asynccontextmanager
    async def watching(self, principal: Principal, task_ids: Sequence[str]) -> AsyncIterator[Subscription]:
        """Watch the tasks while entered. Leaving ends this caller's wait, not the watch that others share."""
        watch = self._watches.get(principal.tenant)
        if watch is None:
            watch = self._watches[principal.tenant] = TenantPoller(principal, self._parts)
        sight = watch.join(task_ids)
        try:
            yield sight
        finally:
            if watch.leave(sight, task_ids):
                self._end(principal.tenant, watch)

    async def aclose(self) -> None:
        """Stop every watch, and wait until each has given its lease back."""
        self._unsubscribe()
        for tenant, watch in list(self._watches.items()):
            self._end(tenant, watch)
        if self._ending:
            await asyncio.wait(self._ending)

    def _end(self, tenant: str, watch: TenantPoller) -> None:
        if self._watches.get(tenant) is watch:
            del self._watches[tenant]
        ending = watch.stop()
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _hear(self, message: bytes) -> None:
        news = unpack(message)
        if news is not None and news.hinted:
            self._parts.callback_trust.arrived_elsewhere()
        if news is not None and (watch := self._watches.get(news.tenant)) is not None:
            watch.hear(news)
