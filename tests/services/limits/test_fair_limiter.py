"""FairLimiter: fairness between tenants, its limits, and cancellation."""

import asyncio
import random

import pytest

from app.services.limits.fair_limiter import FairLimiter, Shares


class HeldCalls:
    """Calls that hold their places until the test ends them. `order` lists tenants in the order of their places."""

    def __init__(self, shares: Shares, accepted: set[str] | None = None) -> None:
        self.accepted = accepted if accepted is not None else set()
        self.limiter = FairLimiter(shares, lambda tenant: tenant in self.accepted)
        self.order: list[str] = []
        self._holding: dict[str, list[asyncio.Event]] = {}
        self.calls: list[asyncio.Task[None]] = []

    async def ask(self, tenant: str, times: int = 1) -> None:
        for _ in range(times):
            self.calls.append(asyncio.create_task(self._call(tenant)))
        await turns()

    async def _call(self, tenant: str) -> None:
        async with self.limiter.place(tenant):
            self.order.append(tenant)
            may_end = asyncio.Event()
            self._holding.setdefault(tenant, []).append(may_end)
            await may_end.wait()

    async def end(self, tenant: str, turns_after: int = 5) -> None:
        self._holding[tenant].pop(0).set()
        await turns(turns_after)

    async def end_all(self) -> None:
        while not all(call.done() for call in self.calls):
            for holding in self._holding.values():
                while holding:
                    holding.pop().set()
            await turns()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_tenants_are_served_round_robin_regardless_of_their_queue_lengths() -> None:
    calls_held = HeldCalls(Shares(places=2, per_tenant=2, unaccepted=2))
    await calls_held.ask("junk", 50)
    await calls_held.ask("a", 2)
    await calls_held.ask("b", 2)
    for _ in range(6):
        await calls_held.end(calls_held.order[-1])
    assert calls_held.order[:2] == ["junk", "junk"]
    assert sorted(calls_held.order[2:5]) == ["a", "b", "junk"]
    await calls_held.end_all()
    assert calls_held.limiter.is_idle


async def test_a_tenant_gets_at_most_per_tenant_places() -> None:
    calls_held = HeldCalls(Shares(places=10, per_tenant=3, unaccepted=10))
    await calls_held.ask("a", 10)
    assert calls_held.order == ["a"] * 3
    await calls_held.ask("b")
    assert calls_held.order == ["a"] * 3 + ["b"]
    await calls_held.end_all()
    assert calls_held.limiter.is_idle


async def test_unaccepted_tenants_leave_places_for_accepted_ones() -> None:
    calls_held = HeldCalls(Shares(places=4, per_tenant=4, unaccepted=3), accepted={"known"})
    for number in range(300):
        await calls_held.ask(f"junk-{number}")
    assert len(calls_held.order) == 3
    await calls_held.ask("known", 2)
    assert calls_held.order[3:] == ["known"]
    await calls_held.end("junk-0")
    assert calls_held.order[4:] == ["known"], "an accepted tenant does not wait behind three hundred others"
    await calls_held.end("known")
    assert calls_held.order[5:] == ["junk-299"], "the newest unaccepted tenant is served first"
    await calls_held.end_all()
    assert calls_held.limiter.is_idle


async def test_accepted_and_unaccepted_tenants_alternate() -> None:
    calls_held = HeldCalls(Shares(places=2, per_tenant=2, unaccepted=2), accepted={"known"})
    await calls_held.ask("known", 20)
    await calls_held.ask("new", 2)
    await calls_held.end("known")
    await calls_held.end("known")
    assert sorted(calls_held.order[2:4]) == ["known", "new"]
    await calls_held.end_all()


async def test_a_call_cancelled_in_the_queue_gets_no_place() -> None:
    calls_held = HeldCalls(Shares(places=1, per_tenant=1, unaccepted=1))
    await calls_held.ask("a")
    await calls_held.ask("b", 3)
    for leaver in calls_held.calls[1:3]:
        leaver.cancel()
    await calls_held.end("a")
    assert calls_held.order == ["a", "b"]
    await calls_held.end_all()
    assert calls_held.limiter.is_idle


@pytest.mark.parametrize("turns_after", range(4))
async def test_a_place_granted_to_a_cancelled_call_goes_to_the_next(turns_after: int) -> None:
    calls_held = HeldCalls(Shares(places=1, per_tenant=1, unaccepted=1))
    await calls_held.ask("a")
    await calls_held.ask("b")
    await calls_held.ask("c")
    await calls_held.end("a", turns_after)
    calls_held.calls[1].cancel()
    await turns()
    assert calls_held.order[-1] == "c" or calls_held.calls[1].done()
    await calls_held.end_all()
    assert calls_held.limiter.is_idle


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_in_random_sequences_of_calls_and_cancellations(seed: int) -> None:
    chance = random.Random(seed)
    accepted = {"t0", "t1"}
    limiter = FairLimiter(Shares(places=3, per_tenant=2, unaccepted=2), lambda tenant: tenant in accepted)
    running: dict[str, int] = {}

    async def call(tenant: str, steps: int) -> None:
        async with limiter.place(tenant):
            running[tenant] = running.get(tenant, 0) + 1
            assert sum(running.values()) <= 3
            assert running[tenant] <= 2
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
            finally:
                running[tenant] -= 1

    calls = [asyncio.create_task(call(f"t{chance.randrange(6)}", chance.randrange(6))) for _ in range(200)]
    for _ in range(100):
        await asyncio.sleep(0)
        chance.choice(calls).cancel()
        if chance.random() < 0.2:
            accepted ^= {f"t{chance.randrange(6)}"}
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert not [result for result in results if isinstance(result, Exception)]
    assert limiter.is_idle
