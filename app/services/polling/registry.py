"""The pollers of this process: one for each tenant with waiting calls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.domain.errors import RateLimited
from app.ports.auth import Caller
from app.ports.coordination import EventKind
from app.services.polling.events import unpack
from app.services.polling.poller import PollerDependencies, TenantPoller
from app.services.polling.subscription import Subscription


class PollerRegistry:
    """Starts a poller when a tenant's first call waits, and stops it after the last one."""

    def __init__(self, deps: PollerDependencies) -> None:
        """Listen for events between replicas, and create pollers with `deps`."""
        self._deps = deps
        self._pollers: dict[str, TenantPoller] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._unsubscribe = deps.coordination.subscribe(EventKind.TASKS, self._on_message)

    @property
    def callers(self) -> int:
        """Number of calls that wait in this process."""
        return sum(poller.callers for poller in self._pollers.values())

    @asynccontextmanager
    async def watching(self, caller: Caller, task_ids: Sequence[str]) -> AsyncIterator[Subscription]:
        """Poll `task_ids`, which are distinct, inside `async with`. On exit, stop the poller if it has no other calls.

        Raises RateLimited if too many tasks are awaited.
        """
        tenant = caller.principal.owner
        poller = self._pollers.get(tenant)
        if poller is None:
            poller = self._pollers[tenant] = TenantPoller(caller, self._deps)
        try:
            subscription = poller.join(task_ids)
        except RateLimited:
            if not poller.callers:
                self._end(tenant, poller)
            raise
        try:
            yield subscription
        finally:
            if poller.leave(subscription):
                self._end(tenant, poller)

    async def aclose(self) -> None:
        """Stop every poller, and wait until each has released its lease."""
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
        if event is not None and event.reported_finished:
            self._deps.callback_trust.restore()
        if event is not None and (poller := self._pollers.get(event.tenant)) is not None:
            poller.on_event(event)
