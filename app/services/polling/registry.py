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
        self._pollers: dict[str, TenantPoller] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._unsubscribe = parts.coordination.subscribe(EventKind.TASKS, self._on_message)

    @property
    def callers(self) -> int:
        """How many callers wait here now."""
        return sum(poller.callers for poller in self._pollers.values())

    @asynccontextmanager
    async def watching(self, principal: Principal, task_ids: Sequence[str]) -> AsyncIterator[Subscription]:
        """Watch the tasks while entered. Leaving ends this caller's wait, not the watch that others share."""
        poller = self._pollers.get(principal.tenant)
        if poller is None:
            poller = self._pollers[principal.tenant] = TenantPoller(principal, self._parts)
        subscription = poller.join(task_ids)
        try:
            yield subscription
        finally:
            if poller.leave(subscription, task_ids):
                self._end(principal.tenant, poller)

    async def aclose(self) -> None:
        """Stop every watch, and wait until each has given its lease back."""
        self._unsubscribe()
        for tenant, poller in list(self._pollers.items()):
            self._end(tenant, poller)
        if self._ending:
            await asyncio.wait(self._ending)

    def _end(self, tenant: str, poller: TenantPoller) -> None:
        if self._pollers.get(tenant) is poller:
            del self._pollers[tenant]
        ending = poller.stop()
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _on_message(self, message: bytes) -> None:
        event = unpack(message)
        if event is not None and event.hinted:
            self._parts.callback_trust.arrived_elsewhere()
        if event is not None and (poller := self._pollers.get(event.tenant)) is not None:
            poller.on_event(event)
