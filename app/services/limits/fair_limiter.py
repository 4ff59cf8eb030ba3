"""A concurrency limiter that shares its places fairly between tenants.

Each tenant has a queue of its own, and the queues take turns, so a tenant waits for as many others as there are and
not for as many calls as they have made. Tenants whose token the backend has not accepted lately share a part of the
places: tokens cost nothing to invent. Among them the newest goes first: a line of a thousand invented ones does not
stand before somebody who has just come.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Shares:
    """How many places there are: in total, for each tenant, and for all tenants that are not accepted together."""

    places: int
    per_tenant: int
    unaccepted: int


@dataclass(slots=True)
class _Tenant:
    running: int = 0
    queue: "deque[asyncio.Future[bool]]" = field(default_factory=deque)


class FairLimiter:
    """Grants places; a tenant with neither a place nor a call in the queue costs no memory."""

    def __init__(self, shares: Shares, is_accepted: Callable[[str], bool]) -> None:
        """Share out `shares`; `is_accepted` tells whether the backend has accepted a tenant's token lately."""
        self._shares = shares
        self._is_accepted = is_accepted
        self._tenants: dict[str, _Tenant] = {}
        self._turns: dict[bool, OrderedDict[str, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._running = 0
        self._unaccepted = 0
        self._last_turn = False

    @property
    def is_idle(self) -> bool:
        """Whether nobody has a place or waits for one."""
        return not self._tenants and not any(self._turns.values()) and self._running == self._unaccepted == 0

    def place(self, tenant: str) -> AbstractAsyncContextManager[None]:
        """Hold one of the tenant's places while entered; wait for it in the queue, which the caller bounds in time."""
        return _Place(self, tenant)

    def take_at_once(self, tenant: str) -> bool | None:
        """Take a place if there is one now, and return whether it is one of those for accepted tenants."""
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
        """Return, with a place, whether it is one of those for accepted tenants."""
        accepted = self.take_at_once(tenant)
        if accepted is not None:
            return accepted
        state = self._tenants.setdefault(tenant, _Tenant())
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        state.queue.append(turn)
        self._queue_up(tenant, state)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(tenant, accepted=turn.result())
            elif self._tenants.get(tenant) is state:
                if turn in state.queue:
                    state.queue.remove(turn)
                self._queue_up(tenant, state)
            raise

    def _has_room(self, *, accepted: bool) -> bool:
        return self._running < self._shares.places and (accepted or self._unaccepted < self._shares.unaccepted)

    def _grant(self, state: _Tenant, *, accepted: bool) -> None:
        state.running += 1
        self._running += 1
        self._unaccepted += not accepted

    def give_back(self, tenant: str, *, accepted: bool) -> None:
        """Give back a place that was taken; `accepted` is what `take` returned."""
        state = self._tenants[tenant]
        state.running -= 1
        self._running -= 1
        self._unaccepted -= not accepted
        if state.queue:
            self._queue_up(tenant, state)
        elif not state.running:
            del self._tenants[tenant]
        while self._next_turn():
            pass

    def _queue_up(self, tenant: str, state: _Tenant) -> None:
        """Give the tenant its turn where it may use one, at the end of the line; forget it where it is done."""
        waits = bool(state.queue) and state.running < self._shares.per_tenant
        if not waits:
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
            if not accepted and state.running:  # it has had a turn, so it is not the newest
                turns.move_to_end(tenant, last=False)

    def _next_turn(self) -> bool:
        """Grant one place, by turns to an accepted tenant and to another; return whether anybody had a turn."""
        for accepted in (not self._last_turn, self._last_turn):
            turns = self._turns[accepted]
            if turns and self._has_room(accepted=accepted):
                tenant, _ = turns.popitem(last=not accepted)
                state = self._tenants[tenant]
                turn = state.queue.popleft()
                if not turn.cancelled():  # one that is will not come; its task has yet to notice
                    turn.set_result(accepted)
                    self._grant(state, accepted=accepted)
                    self._last_turn = accepted
                self._queue_up(tenant, state)
                return True
        return False


class _Place:
    """A place while entered; a generator would take as long as all the rest."""

    __slots__ = ("_accepted", "_limiter", "_tenant")

    def __init__(self, limiter: FairLimiter, tenant: str) -> None:
        self._limiter = limiter
        self._tenant = tenant
        self._accepted = False

    async def __aenter__(self) -> None:
        self._accepted = await self._limiter.take(self._tenant)

    async def __aexit__(self, *_exc: object) -> None:
        self._limiter.give_back(self._tenant, accepted=self._accepted)
