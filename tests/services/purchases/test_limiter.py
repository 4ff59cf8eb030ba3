"""Submissions of one token wait in a queue that ends, and tokens do not share it."""

import asyncio

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD, GENERATIONS_AT_ONCE
from app.domain.errors import RateLimited
from app.services.purchases.limiter import MOST_WAITING, ConcurrencyLimiter
from tests.support.clock import HandClock


async def test_a_token_has_a_bounded_queue_of_its_own(clock: HandClock) -> None:
    limiter, may_end = ConcurrencyLimiter(ACEDATACLOUD, clock, clock.sleep), asyncio.Event()

    async def send() -> str:
        await may_end.wait()
        return "task-0"

    calls = [asyncio.create_task(limiter.run("a", send)) for _ in range(GENERATIONS_AT_ONCE + MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited, match="Nothing was sent"):
        await limiter.run("a", send)
    other = asyncio.create_task(limiter.run("b", send))
    may_end.set()
    assert set(await asyncio.gather(*calls, other)) == {"task-0"}
    assert await limiter.run("a", send) == "task-0"
