"""RateLimits: refusals and their cache, failures of Redis, and floods of refused calls."""

import logging
from collections.abc import Sequence

import pytest

from app.adapters.memory.rate_limiter import MemoryRateLimiter
from app.domain.access import Principal
from app.domain.errors import RateLimited
from app.domain.rate_limit import LimitKind, LimitLevel, RateLimit
from app.ports.rate_limiter import OverLimit
from app.ports.store import StoreBusy, StoreRefuses, StoreUnavailable
from app.services.limits.rate_limits import COOLDOWN_SECONDS, FLOOD_REFUSALS, RateLimits
from tests.support.clock import HandClock

CALLS, GENERATIONS, _ = LimitKind
TEAM = RateLimit(CALLS, LimitLevel.TEAM, "film", 3)
ANA = Principal("ana", "film", key="key-ana", limits=(TEAM, RateLimit(GENERATIONS, LimitLevel.KEY, "key-ana", 1)))
BEN = Principal("ben", "film", key="key-ben", limits=(TEAM,))


class RecordingLimiter(MemoryRateLimiter):
    """A rate limiter that records its calls and raises `fault`, if set."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.asked: list[tuple[str, list[RateLimit]]] = []
        self.fault: StoreUnavailable | None = None
        self.answer: OverLimit | None = None

    async def count_call(self, owner: str, limits: Sequence[RateLimit]) -> OverLimit | None:
        self.asked.append((owner, list(limits)))
        if self.fault is not None:
            raise self.fault
        if self.answer is not None:
            return self.answer
        return await super().count_call(owner, limits)


class World:
    """RateLimits over a recording limiter, with the reported refusals, floods and failures."""

    def __init__(self, clock: HandClock) -> None:
        self.limiter = RecordingLimiter(clock)
        self.refused: list[LimitKind] = []
        self.failures = self.floods = 0
        self.limits = RateLimits(
            self.limiter, clock, on_refusal=self.refused.append, on_flood=self._flooded, on_failure=self._failed
        )

    def _failed(self) -> None:
        self.failures += 1

    def _flooded(self) -> None:
        self.floods += 1

    async def refusal(self, principal: Principal, kind: LimitKind = CALLS) -> RateLimited:
        with pytest.raises(RateLimited) as caught:
            await self.limits.check(principal, kind)
        return caught.value

    async def calls(self, principal: Principal, count: int) -> None:
        for _ in range(count):
            await self.limits.check(principal, CALLS)


@pytest.fixture
def world(clock: HandClock) -> World:
    return World(clock)


async def test_a_caller_without_limits_of_a_kind_causes_no_query(world: World) -> None:
    await world.limits.check(Principal("anybody"), CALLS)
    await world.limits.check(BEN, GENERATIONS)
    assert world.limiter.asked == []
    assert world.limits.refuse_flood(Principal("anybody")) is None


async def test_a_refusal_names_the_level_of_the_limit_and_the_wait(world: World) -> None:
    await world.calls(ANA, 2)
    await world.calls(BEN, 1)
    error = await world.refusal(BEN)
    assert "this team, 3 a minute" in str(error)
    assert error.retry_after_seconds is not None
    assert 60 <= error.retry_after_seconds <= 61
    await world.limits.check(ANA, GENERATIONS)
    error = await world.refusal(ANA, GENERATIONS)
    assert "this key, 1 an hour" in str(error)
    assert "Nothing was sent" in str(error)
    assert world.refused == [CALLS, GENERATIONS]
    assert {owner for owner, _ in world.limiter.asked} == {"film"}


async def test_a_refusal_is_cached_until_the_limit_has_room(world: World, clock: HandClock) -> None:
    await world.calls(ANA, 3)
    wait = (await world.refusal(ANA)).retry_after_seconds or 0
    asked = len(world.limiter.asked)
    clock.advance(20)
    assert (await world.refusal(BEN)).retry_after_seconds == wait - 20
    assert len(world.limiter.asked) == asked
    clock.advance(wait - 20)
    await world.calls(BEN, 1)


async def test_a_cached_refusal_with_a_long_wait_is_verified_each_minute(world: World, clock: HandClock) -> None:
    await world.limits.check(ANA, GENERATIONS)
    wait = (await world.refusal(ANA, GENERATIONS)).retry_after_seconds or 0
    asked = len(world.limiter.asked)
    assert wait > 3500
    for seconds, times in ((59, 0), (1, 1)):
        clock.advance(seconds)
        wait -= seconds
        assert (await world.refusal(ANA, GENERATIONS)).retry_after_seconds == wait
        assert len(world.limiter.asked) == asked + times


async def test_a_raised_limit_takes_effect_at_once(world: World) -> None:
    await world.calls(ANA, 3)
    await world.refusal(ANA)
    raised = Principal("ana", "film", key="key-ana", limits=(RateLimit(CALLS, LimitLevel.TEAM, "film", 4),))
    await world.calls(raised, 1)


@pytest.mark.parametrize("fault", [StoreUnavailable("TimeoutError"), StoreRefuses("NOPERM")])
async def test_calls_pass_and_one_warning_is_logged_when_redis_fails(
    world: World, clock: HandClock, caplog: pytest.LogCaptureFixture, fault: StoreUnavailable
) -> None:
    world.limiter.fault = fault
    await world.calls(ANA, 50)
    assert (len(world.limiter.asked), world.failures) == (1, 1)
    clock.advance(COOLDOWN_SECONDS)
    await world.calls(ANA, 50)
    assert (len(world.limiter.asked), world.failures) == (2, 2)
    world.limiter.fault = None
    clock.advance(COOLDOWN_SECONDS)
    await world.calls(ANA, 3)
    await world.refusal(ANA)
    lines = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "not enforced" in lines[0].getMessage()


async def test_calls_pass_without_a_cooldown_when_the_store_is_busy(world: World) -> None:
    world.limiter.fault = StoreBusy("the queue is full")
    await world.calls(ANA, 5)
    assert (len(world.limiter.asked), world.failures) == (5, 0)


async def test_refuse_flood_after_ten_refused_calls_until_the_limit_has_room(
    world: World, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    await world.calls(ANA, 3)
    for _ in range(FLOOD_REFUSALS - 1):
        await world.refusal(ANA)
    assert world.limits.refuse_flood(ANA) is None
    wait = (await world.refusal(ANA)).retry_after_seconds or 0
    await world.refusal(BEN)
    assert [world.limits.refuse_flood(ANA) for _ in range(5)] == [wait] * 5
    assert world.floods == 5
    [line] = [record.getMessage() for record in caplog.records]
    assert "key-ana of team film" in line
    assert world.limits.refuse_flood(BEN) is None
    clock.advance(wait)
    assert world.limits.refuse_flood(ANA) is None
    await world.calls(ANA, 3)
    await world.refusal(ANA)
    assert world.limits.refuse_flood(ANA) is None


async def test_a_flood_is_not_remembered_for_longer_than_two_windows(world: World, clock: HandClock) -> None:
    world.limiter.answer = OverLimit(ANA.limits[0], 9e14)
    for _ in range(FLOOD_REFUSALS):
        await world.refusal(ANA)
    assert world.limits.refuse_flood(ANA) is not None
    clock.advance(2 * ANA.limits[0].window_seconds)
    assert world.limits.refuse_flood(ANA) is None


async def test_refused_generations_do_not_count_as_a_flood(world: World) -> None:
    await world.limits.check(ANA, GENERATIONS)
    for _ in range(FLOOD_REFUSALS + 1):
        await world.refusal(ANA, GENERATIONS)
    assert world.limits.refuse_flood(ANA) is None
