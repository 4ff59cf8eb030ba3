"""The rate limiters: one contract in memory, in Redis and in a Redis Cluster, with a clock that tests set."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.adapters.memory.rate_limiter import MAX_WINDOWS, MemoryRateLimiter
from app.adapters.redis.connection import RedisConnection
from app.adapters.redis.rate_limiter import RedisRateLimiter
from app.adapters.redis.store import RedisStore, connect
from app.domain.rate_limit import LimitKind, LimitLevel, LimitUse, RateLimit
from app.ports.rate_limiter import RateLimiter
from app.ports.store import StoreUnavailable
from app.services.key_namespace import KeyNamespace
from tests.support.clock import HandClock
from tests.support.redis_forms import PATIENT_SECONDS, connected
from tests.support.redis_server import free_port

FORMS = ["memory", "redis", "cluster"]
KEYS = KeyNamespace("luma-mcp:test")
CALLS, GENERATIONS = LimitKind.CALLS, LimitKind.GENERATIONS


def limit(
    maximum: int, level: LimitLevel = LimitLevel.TEAM, kind: LimitKind = CALLS, holder: str = "film"
) -> RateLimit:
    return RateLimit(kind, level, holder, maximum)


@pytest.fixture(params=FORMS)
async def limiter(
    request: pytest.FixtureRequest, redis_urls: dict[str, str], clock: HandClock
) -> AsyncIterator[RateLimiter]:
    if request.param == "memory":
        yield MemoryRateLimiter(clock)
        return
    store = await connected(redis_urls[request.param])
    await flush(store)
    yield RedisRateLimiter(store.connection, KEYS, clock)
    await store.aclose()


async def flush(store: RedisStore) -> None:
    keys = [key async for key in store.client.scan_iter(match=f"{KEYS.root}*")]
    for key in keys:
        await store.client.delete(key)


async def admits(limiter: RateLimiter, *limits: RateLimit) -> bool:
    return await limiter.count_call("film", limits) is None


async def test_a_window_admits_its_limit_and_returns_the_wait(limiter: RateLimiter, clock: HandClock) -> None:
    assert [await admits(limiter, limit(3)) for _ in range(3)] == [True] * 3
    over = await limiter.count_call("film", [limit(3)])
    assert over is not None
    assert over.limit == limit(3)
    assert 60 <= over.wait_seconds <= 61
    clock.advance(over.wait_seconds - 0.001)
    assert not await admits(limiter, limit(3))
    clock.advance(0.001)
    assert [await admits(limiter, limit(3)) for _ in range(4)] == [True] * 3 + [False]


async def test_all_windows_count_a_call_or_none(limiter: RateLimiter, clock: HandClock) -> None:
    team, member = limit(5), limit(2, LimitLevel.MEMBER, holder="ana")
    assert [await admits(limiter, team, member) for _ in range(10)] == [True] * 2 + [False] * 8
    other = limit(5, LimitLevel.MEMBER, holder="ben")
    assert [await admits(limiter, team, other) for _ in range(4)] == [True] * 3 + [False]
    over = await limiter.count_call("film", [member, team])
    assert over is not None
    assert over.limit in (member, team)
    clock.advance(61)
    assert await admits(limiter, team, member)


async def test_of_several_limits_the_one_with_the_longest_wait_is_returned(
    limiter: RateLimiter, clock: HandClock
) -> None:
    minute, hour = limit(1), limit(1, kind=GENERATIONS)
    assert await admits(limiter, hour)
    clock.advance(120)
    assert await admits(limiter, minute)
    for order in ([minute, hour], [hour, minute]):
        over = await limiter.count_call("film", order)
        assert over is not None
        assert over.limit == hour
        assert 3600 - 120 <= over.wait_seconds <= 3660 - 120


async def test_kinds_levels_holders_and_teams_are_counted_separately(limiter: RateLimiter) -> None:
    apart = [
        limit(1),
        limit(1, kind=GENERATIONS),
        limit(1, LimitLevel.MEMBER),
        limit(1, LimitLevel.KEY),
        limit(1, holder="other"),
    ]
    assert [await admits(limiter, one) for one in apart] == [True] * len(apart)
    assert [await admits(limiter, one) for one in apart] == [False] * len(apart)


async def test_usage_is_read_without_counting_a_call(limiter: RateLimiter, clock: HandClock) -> None:
    minute, hour = limit(3), limit(5, LimitLevel.MEMBER, GENERATIONS, "ana")
    assert await limiter.usage("film", [minute, hour]) == [
        LimitUse(CALLS, LimitLevel.TEAM, 3, 0),
        LimitUse(GENERATIONS, LimitLevel.MEMBER, 5, 0),
    ]
    assert await admits(limiter, minute, hour)
    clock.advance(30)
    assert await admits(limiter, minute)
    for _ in range(9):
        found = await limiter.usage("film", [hour, minute])
    assert [one.used for one in found] == [1, 2]
    [renews_hour, renews_minute] = [one.renews_in_seconds or 0 for one in found]
    assert (3570 <= renews_hour <= 3630, 30 <= renews_minute <= 31) == (True, True)
    clock.advance(renews_minute - 0.001)
    assert [one.used for one in await limiter.usage("film", [minute])] == [2]
    clock.advance(0.001)
    assert [one.used for one in await limiter.usage("film", [minute])] == [1]
    clock.advance(4000)
    assert await limiter.usage("film", [minute]) == [LimitUse(CALLS, LimitLevel.TEAM, 3, 0)]


async def test_a_changed_limit_keeps_the_count(limiter: RateLimiter) -> None:
    assert [await admits(limiter, limit(4)) for _ in range(4)] == [True] * 4
    assert not await admits(limiter, limit(2))
    assert [await admits(limiter, limit(6)) for _ in range(3)] == [True, True, False]


async def test_concurrent_calls_never_exceed_a_limit(limiter: RateLimiter) -> None:
    ended = await asyncio.gather(*(admits(limiter, limit(7), limit(9, kind=GENERATIONS)) for _ in range(40)))
    assert sum(ended) == 7


async def test_no_window_of_any_position_holds_more_than_the_limit(limiter: RateLimiter, clock: HandClock) -> None:
    dice, times = random.Random(7), list[float]()
    for _ in range(600):
        clock.advance(dice.choice((0, 0.001, 0.25, 1.0, 7.5, 59.999, 60.0)) * dice.random())
        over = await limiter.count_call("film", [limit(5)])
        if over is None:
            times.append(clock())
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[5:], strict=False))
    assert len(times) > 100


async def test_a_clock_that_goes_back_a_little_admits_no_extra_call(limiter: RateLimiter, clock: HandClock) -> None:
    assert [await admits(limiter, limit(2)) for _ in range(2)] == [True] * 2
    clock.advance(-3)
    assert not await admits(limiter, limit(2))
    clock.advance(3 + 61)
    assert await admits(limiter, limit(2))


async def test_a_call_counted_by_a_clock_one_window_ahead_counts(limiter: RateLimiter, clock: HandClock) -> None:
    clock.advance(60)
    assert await admits(limiter, limit(1))
    clock.advance(-60)
    over = await limiter.count_call("film", [limit(1)])
    assert over is not None
    assert 120 < over.wait_seconds <= 121


async def test_a_clock_that_was_far_ahead_does_not_block_calls(limiter: RateLimiter, clock: HandClock) -> None:
    clock.advance(86_400)
    assert await admits(limiter, limit(1))
    clock.advance(-86_400)
    assert await admits(limiter, limit(1))
    assert not await admits(limiter, limit(1))


@pytest.mark.parametrize("form", ["redis", "cluster"])
async def test_two_replicas_share_the_windows_and_every_key_expires(
    form: str, redis_urls: dict[str, str], clock: HandClock
) -> None:
    stores = [connect(redis_urls[form], PATIENT_SECONDS) for _ in range(2)]
    await flush(stores[0])
    one, other = (RedisRateLimiter(store.connection, KEYS, clock) for store in stores)
    limits = [limit(3), limit(9, LimitLevel.MEMBER, GENERATIONS, "ana")]
    assert [await admits(turn, *limits) for turn in (one, other, one, other)] == [True] * 3 + [False]
    keys = [key async for key in stores[0].client.scan_iter(match=f"{KEYS.root}*")]
    assert len(keys) == 2
    assert all(key.startswith(b"luma-mcp:test:{film}:") for key in keys)
    ttls = sorted([await stores[0].client.pttl(key) for key in keys])
    assert 60_000 < ttls[0] <= 62_000
    assert 3_600_000 < ttls[1] <= 3_720_000
    for store in stores:
        await store.aclose()


async def test_the_redis_and_memory_limiters_agree(redis_urls: dict[str, str], clock: HandClock) -> None:
    store = connect(redis_urls["redis"], PATIENT_SECONDS)
    await flush(store)
    model, shared, dice = MemoryRateLimiter(clock), RedisRateLimiter(store.connection, KEYS, clock), random.Random(16)
    choices = [limit(7), limit(4, LimitLevel.MEMBER, holder="ana"), limit(30, kind=GENERATIONS)]
    for _ in range(1500):
        clock.advance(dice.choice((0.0, 0.3, 2.0, 20.0, 70.0, -1.5)))
        some = dice.sample(choices, dice.randint(1, 3))
        assert await shared.count_call("film", some) == await model.count_call("film", some)
    await store.aclose()


async def test_the_redis_and_memory_limiters_agree_on_usage(redis_urls: dict[str, str], clock: HandClock) -> None:
    store = connect(redis_urls["redis"], PATIENT_SECONDS)
    await flush(store)
    model, shared, dice = MemoryRateLimiter(clock), RedisRateLimiter(store.connection, KEYS, clock), random.Random(16)
    limits = [limit(7), limit(4, LimitLevel.MEMBER, holder="ana"), limit(30, kind=GENERATIONS)]
    differing = []
    for _ in range(500):
        clock.advance(dice.choice((0.0, 0.3, 2.0, 20.0, 70.0)))
        some = dice.sample(limits, dice.randint(1, 3))
        await shared.count_call("film", some)
        await model.count_call("film", some)
        if (found := await shared.usage("film", limits)) != (wanted := await model.usage("film", limits)):
            differing.append((found, wanted))
    await store.aclose()
    assert differing == []


@pytest.mark.parametrize("value", [b"", b"nonsense", b"1:1 " * 5000, b"9:9:9:", None])
async def test_values_of_other_programs_are_counted_as_empty_windows(
    redis_urls: dict[str, str], clock: HandClock, value: bytes | None
) -> None:
    store = connect(redis_urls["redis"], PATIENT_SECONDS)
    await flush(store)
    name = KEYS.key("film", "rate", "calls_per_minute:team:film")
    await (store.client.rpush(name, b"a list") if value is None else store.client.set(name, value))
    limiter = RedisRateLimiter(store.connection, KEYS, clock)
    assert [one.used for one in await limiter.usage("film", [limit(1)])] == [0]
    assert [await admits(limiter, limit(1)) for _ in range(2)] == [True, False]
    await store.aclose()


@pytest.mark.parametrize("forged", ["999999999999:5000 {now}:1", "{now}:1 999999999999:5000", "{later}:5000 {now}:1"])
async def test_counts_of_a_wrong_time_do_not_end_a_limit(
    redis_urls: dict[str, str], clock: HandClock, forged: str
) -> None:
    store = connect(redis_urls["redis"], PATIENT_SECONDS)
    await flush(store)
    bucket = int(clock())  # those of a minute's window are a second long
    value = forged.format(now=bucket, later=bucket + 61)
    await store.client.set(KEYS.key("film", "rate", "calls_per_minute:team:film"), value)
    limiter = RedisRateLimiter(store.connection, KEYS, clock)
    assert [one.used for one in await limiter.usage("film", [limit(2)])] == [1]
    assert [await admits(limiter, limit(2)) for _ in range(3)] == [True, False, False]
    await store.aclose()


async def test_a_redis_that_does_not_answer_raises_store_unavailable(clock: HandClock) -> None:
    store = connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreUnavailable):
        await RedisRateLimiter(store.connection, KEYS, clock).count_call("film", [limit(1)])
    with pytest.raises(StoreUnavailable):
        await RedisRateLimiter(store.connection, KEYS, clock).usage("film", [limit(1)])
    await store.aclose()


class Nonsense(Redis):
    """A Redis client whose scripts return `reply`."""

    def __init__(self, reply: object) -> None:
        super().__init__()
        self._reply = reply

    async def eval(self, *_arguments: Any) -> Any:
        return self._reply


@pytest.mark.parametrize("reply", [[99, b"x"], [99, 1], [1, 900_000_000_000_000], [1, 121_001], [1, -1], [1]])
async def test_a_reply_that_the_script_cannot_return_raises_store_unavailable(clock: HandClock, reply: object) -> None:
    connection = RedisConnection(Nonsense(reply))
    with pytest.raises(StoreUnavailable):
        await RedisRateLimiter(connection, KEYS, clock).count_call("film", [limit(1)])


@with_settings(max_examples=60, deadline=None)
@given(
    maximum=st.integers(1, 6),
    kind=st.sampled_from([CALLS, GENERATIONS]),
    gaps=st.lists(st.integers(0, 130_000), max_size=80),
)
@example(maximum=1, kind=CALLS, gaps=[0, 58954])
def test_in_memory_no_window_holds_more_and_the_wait_is_exact(maximum: int, kind: LimitKind, gaps: list[int]) -> None:
    async def play() -> None:
        clock, times = HandClock(), list[float]()
        limiter, one = MemoryRateLimiter(clock), limit(maximum, kind=kind)
        for gap in gaps:
            clock.now = (round(clock.now * 1000) + gap) / 1000
            over = await limiter.count_call("film", [one])
            if over is not None:
                until = round(clock.now * 1000) + round(over.wait_seconds * 1000)
                clock.now = (until - 1) / 1000
                assert await limiter.count_call("film", [one]) is not None
                clock.now = until / 1000
                assert await limiter.count_call("film", [one]) is None
            times.append(clock.now)
        pairs = zip(times, times[maximum:], strict=False)
        assert all(round(later - earlier, 3) >= one.window_seconds for earlier, later in pairs)

    asyncio.run(play())


async def test_windows_in_memory_are_bounded_and_expire(clock: HandClock) -> None:
    limiter = MemoryRateLimiter(clock)
    for number in range(MAX_WINDOWS + 5):
        assert await admits(limiter, limit(1, holder=str(number)))
    assert len(limiter._entries) == MAX_WINDOWS  # noqa: SLF001 - the bound itself
    clock.advance(120)
    assert await admits(limiter, limit(1))
    assert len(limiter._entries) == 1  # noqa: SLF001 - the bound itself
