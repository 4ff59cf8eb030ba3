"""Places are shared by turns between tenants, whatever each of them asks for."""

import asyncio
import random

import pytest

from app.services.limits.fair_limiter import FairLimiter, Shares


class Crowd:
    """Calls that hold their places until the test lets them go, and the order in which they got them."""

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


async def test_tenants_take_turns_however_many_calls_each_has_queued() -> None:
    crowd = Crowd(Shares(places=2, per_tenant=2, unaccepted=2))
    await crowd.ask("junk", 50)
    await crowd.ask("a", 2)
    await crowd.ask("b", 2)
    for _ in range(6):
        await crowd.end(crowd.order[-1])
    assert crowd.order[:2] == ["junk", "junk"]
    assert sorted(crowd.order[2:5]) == ["a", "b", "junk"]
    await crowd.end_all()
    assert crowd.limiter.is_idle


async def test_a_tenant_has_at_most_its_own_places() -> None:
    crowd = Crowd(Shares(places=10, per_tenant=3, unaccepted=10))
    await crowd.ask("a", 10)
    assert crowd.order == ["a"] * 3
    await crowd.ask("b")
    assert crowd.order == ["a"] * 3 + ["b"]
    await crowd.end_all()
    assert crowd.limiter.is_idle


async def test_tokens_that_nobody_has_accepted_leave_places_for_those_that_are() -> None:
    crowd = Crowd(Shares(places=4, per_tenant=4, unaccepted=3), accepted={"known"})
    for number in range(300):
        await crowd.ask(f"junk-{number}")
    assert len(crowd.order) == 3
    await crowd.ask("known", 2)
    assert crowd.order[3:] == ["known"]
    await crowd.end("junk-0")
    assert crowd.order[4:] == ["known"], "an accepted tenant does not wait behind three hundred others"
    await crowd.end("known")
    assert crowd.order[5:] == ["junk-299"], "whoever has just come does not wait behind them either"
    await crowd.end_all()
    assert crowd.limiter.is_idle


async def test_accepted_tenants_and_others_take_turns() -> None:
    crowd = Crowd(Shares(places=2, per_tenant=2, unaccepted=2), accepted={"known"})
    await crowd.ask("known", 20)
    await crowd.ask("new", 2)
    await crowd.end("known")
    await crowd.end("known")
    assert sorted(crowd.order[2:4]) == ["known", "new"]
    await crowd.end_all()


async def test_a_caller_that_leaves_the_queue_takes_nothing_and_keeps_nothing() -> None:
    crowd = Crowd(Shares(places=1, per_tenant=1, unaccepted=1))
    await crowd.ask("a")
    await crowd.ask("b", 3)
    for leaver in crowd.calls[1:3]:
        leaver.cancel()
    await crowd.end("a")
    assert crowd.order == ["a", "b"]
    await crowd.end_all()
    assert crowd.limiter.is_idle


@pytest.mark.parametrize("turns_after", range(4))
async def test_a_caller_that_leaves_as_its_turn_comes_gives_the_place_on(turns_after: int) -> None:
    crowd = Crowd(Shares(places=1, per_tenant=1, unaccepted=1))
    await crowd.ask("a")
    await crowd.ask("b")
    await crowd.ask("c")
    await crowd.end("a", turns_after)
    crowd.calls[1].cancel()
    await turns()
    assert crowd.order[-1] == "c" or crowd.calls[1].done()
    await crowd.end_all()
    assert crowd.limiter.is_idle


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_no_place_is_lost(seed: int) -> None:
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
