"""A concurrency limiter that is fair between tenants.

A place is the right to run one call. Each tenant has its own queue, and the queues are served round-robin, so the wait
depends on the number of waiting tenants and not on their numbers of calls. Tenants whose token the backend has not
accepted lately share a part of the places, because anybody can make up tokens. Among them the newest tenant is served
first, so that a thousand made-up tokens do not delay a new user.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Shares:
    """Numbers of places: in total, for each tenant, and for all tenants together whose token is not accepted."""

    places: int
    per_tenant: int
    unaccepted: int


@dataclass(slots=True)
class _Tenant:
    running: int = 0
    queue: "deque[asyncio.Future[bool]]" = field(default_factory=deque)


class FairLimiter:
    """Grants places. A tenant without running or queued calls takes no memory."""

    def __init__(self, shares: Shares, is_accepted: Callable[[str], bool]) -> None:
        """Enforce `shares`. `is_accepted` returns whether the backend has accepted a tenant's token lately."""
        self._shares = shares
        self._is_accepted = is_accepted
        self._tenants: dict[str, _Tenant] = {}
        self._turns: dict[bool, OrderedDict[str, None]] = {True: OrderedDict(), False: OrderedDict()}
        """Tenants with queued calls that can use a place, by whether their token is accepted.

        Accepted tenants are served from the front, round-robin. The others are served from the end, the newest first.
        """
        self._running = 0
        self._unaccepted = 0
        self._last_turn = False
        """Whether the last granted turn went to an accepted tenant."""

    @property
    def is_idle(self) -> bool:
        """Whether no call runs or waits."""
        return not self._tenants and not any(self._turns.values()) and self._running == self._unaccepted == 0

    def place(self, tenant: str) -> AbstractAsyncContextManager[None]:
        """Hold one place of the tenant inside `async with`. The wait in the queue has no timeout of its own."""
        return _Place(self, tenant)

    def take_at_once(self, tenant: str) -> bool | None:
        """Take a place and return whether it counts as an accepted tenant's. Return None if the tenant has to wait."""
        state = self._tenants.get(tenant)
        if state is not None and (state.queue or state.running >= self._shares.per_tenant):
            return None
        accepted = self._is_accepted(tenant)
        if not self._has_room(accepted=accepted):
            return None
        if state is None:
            state = self._tenants[tenant] = _Tenant()
        self._grant(state, accepted=accepted)
        return accepted

    async def take(self, tenant: str) -> bool:
        """Wait for a place and take it. Return whether it counts as an accepted tenant's, for `give_back`."""
        accepted = self.take_at_once(tenant)
        if accepted is not None:
            return accepted
        state = self._tenants.setdefault(tenant, _Tenant())
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        state.queue.append(granted)
        self._update_turn(tenant, state)
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give_back(tenant, accepted=granted.result())
            elif self._tenants.get(tenant) is state:
                if granted in state.queue:
                    state.queue.remove(granted)
                self._update_turn(tenant, state)
            raise

    def _has_room(self, *, accepted: bool) -> bool:
        return self._running < self._shares.places and (accepted or self._unaccepted < self._shares.unaccepted)

    def _grant(self, state: _Tenant, *, accepted: bool) -> None:
        state.running += 1
        self._running += 1
        self._unaccepted += not accepted

    def give_back(self, tenant: str, *, accepted: bool) -> None:
        """Release a place. `accepted` is the value that `take` or `take_at_once` returned."""
        state = self._tenants[tenant]
        state.running -= 1
        self._running -= 1
        self._unaccepted -= not accepted
        if state.queue:
            self._update_turn(tenant, state)
        elif not state.running:
            del self._tenants[tenant]
        while self._grant_next():
            pass

    def _update_turn(self, tenant: str, state: _Tenant) -> None:
        """Put the tenant into `_turns` if it can use a place, else remove it from there.

        A tenant without running or queued calls is deleted.
        """
        can_use_place = bool(state.queue) and state.running < self._shares.per_tenant
        if not can_use_place:
            for turns in self._turns.values():
                turns.pop(tenant, None)
            if not state.queue and not state.running:
                self._tenants.pop(tenant, None)
            return
        accepted = self._is_accepted(tenant)
        self._turns[not accepted].pop(tenant, None)
        turns = self._turns[accepted]
        if tenant not in turns:
            turns[tenant] = None
            if not accepted and state.running:  # the tenant was served before, so newer ones go first
                turns.move_to_end(tenant, last=False)

    def _grant_next(self) -> bool:
        """Take one call from the queue of a tenant, and grant it a place unless it is cancelled.

        Accepted and other tenants alternate. Return False if no queued call can get a place.
        """
        for accepted in (not self._last_turn, self._last_turn):
            turns = self._turns[accepted]
            if turns and self._has_room(accepted=accepted):
                tenant, _ = turns.popitem(last=not accepted)
                state = self._tenants[tenant]
                granted = state.queue.popleft()
                if not granted.cancelled():  # a cancelled call stays in the queue until its asyncio task runs
                    granted.set_result(accepted)
                    self._grant(state, accepted=accepted)
                    self._last_turn = accepted
                self._update_turn(tenant, state)
                return True
        return False


class _Place:
    """Holds a place inside `async with`. A class, because a generator would double the time that a place costs."""

    __slots__ = ("_accepted", "_limiter", "_tenant")

    def __init__(self, limiter: FairLimiter, tenant: str) -> None:
        self._limiter = limiter
        self._tenant = tenant
        self._accepted = False

    async def __aenter__(self) -> None:
        self._accepted = await self._limiter.take(self._tenant)

    async def __aexit__(self, *_exc: object) -> None:
        self._limiter.give_back(self._tenant, accepted=self._accepted)
