"""A store that is out is an empty store: one warning per outage, a rest, and one caller that tries again."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from app.ports.store import StoreUnavailable
from app.services.tasks.circuit_breaker import CALM_SECONDS, COOLDOWN_SECONDS, FailOpenStore
from tests.support.clock import HandClock
from tests.support.stores import CountingStore
from tests.support.telemetry import Notes

KEY = "{tenant-a}:k"


def standing_before(store: CountingStore, clock: HandClock, notes: Notes | None = None) -> FailOpenStore:
    return FailOpenStore(store, notes or Notes(), clock)


async def test_a_store_that_answers_is_passed_through(clock: HandClock) -> None:
    behind = CountingStore()
    store = standing_before(behind, clock)
    await store.put_many({KEY: b"x"}, {KEY: 5.0})
    assert await store.get_many([KEY, "other"]) == [b"x", None]
    assert behind.ttl_seconds == {KEY: 5.0}
    await store.ping()


async def test_a_store_that_is_out_holds_nothing_and_takes_everything(clock: HandClock) -> None:
    behind, notes = CountingStore(), Notes()
    store = standing_before(behind, clock, notes)
    behind.is_out = True
    assert await store.get_many([KEY, "other"]) == [None, None]
    clock.advance(COOLDOWN_SECONDS)
    await store.put_many({KEY: b"x"}, {KEY: 5.0})
    clock.advance(COOLDOWN_SECONDS)
    await store.remove_many([KEY])
    assert notes.store_failures == ["get", "put", "remove"]
    assert behind.held == {}


async def test_a_ping_asks_the_store_itself_and_is_the_only_one_to_fail(clock: HandClock) -> None:
    behind = CountingStore()
    behind.is_out = True
    with pytest.raises(StoreUnavailable):
        await standing_before(behind, clock).ping()


async def test_a_store_that_failed_is_left_alone_for_the_rest_time(clock: HandClock) -> None:
    behind = CountingStore()
    behind.held[KEY] = b"x"
    store = standing_before(behind, clock)
    behind.is_out = True
    await store.get_many([KEY])
    behind.is_out = False
    clock.advance(COOLDOWN_SECONDS - 0.01)
    assert await store.get_many([KEY]) == [None]
    await store.put_many({KEY: b"y"}, {KEY: 5.0})
    assert (len(behind.asked), behind.puts) == (1, 0)
    clock.advance(0.01)
    assert await store.get_many([KEY]) == [b"x"]


async def test_after_the_rest_one_caller_tries_and_the_others_do_not_wait_for_it(clock: HandClock) -> None:
    answer = asyncio.Event()

    class Slow(CountingStore):
        async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
            if not self.is_out:
                self.asked.append(list(keys))
                await answer.wait()
                return [b"x"]
            return await super().get_many(keys)

    behind = Slow()
    store = standing_before(behind, clock)
    behind.is_out = True
    await store.get_many([KEY])
    behind.is_out = False
    clock.advance(COOLDOWN_SECONDS)
    probe = asyncio.create_task(store.get_many([KEY]))
    await asyncio.sleep(0)
    assert [await store.get_many([KEY]) for _ in range(10)] == [[None]] * 10
    answer.set()
    assert await probe == [b"x"]
    assert len(behind.asked) == 2
    assert await store.get_many([KEY]) == [b"x"], "and then everybody"


async def test_a_try_that_fails_starts_the_rest_again(clock: HandClock) -> None:
    behind = CountingStore()
    store = standing_before(behind, clock)
    behind.is_out = True
    for _ in range(5):
        await store.get_many([KEY])
        await store.get_many([KEY])
        clock.advance(COOLDOWN_SECONDS)
    assert len(behind.asked) == 5


async def test_an_outage_is_one_warning_and_its_end_another(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    behind, notes = CountingStore(), Notes()
    store = standing_before(behind, clock, notes)
    with caplog.at_level(logging.INFO, logger="app"):
        for is_out in (False, True, True, True, False, False, True, False):
            behind.is_out = is_out
            clock.advance(COOLDOWN_SECONDS)
            await store.get_many([KEY])
    begins = [snapshot.getMessage().startswith("Redis does not answer (out)") for snapshot in caplog.records]
    assert begins == [True, False, True, False]
    assert len(notes.store_failures) == 4


async def test_many_callers_caught_by_an_outage_are_one_warning(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Dying(CountingStore):
        async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
            await asyncio.sleep(0)
            raise StoreUnavailable("TimeoutError")

    store = standing_before(Dying(), clock)
    with caplog.at_level(logging.INFO, logger="app"):
        await asyncio.gather(*(store.get_many([KEY]) for _ in range(50)))
    assert len(caplog.records) == 1


async def test_a_store_that_refuses_writes_serves_every_read_and_is_one_warning(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    behind = CountingStore()
    behind.held[KEY] = b"x"
    behind.refused = {"put": "OOM"}
    store = standing_before(behind, clock)
    with caplog.at_level(logging.INFO, logger="app"):
        for _ in range(100):
            await store.put_many({KEY: b"y"}, {KEY: 5.0})
            assert await store.get_many([KEY]) == [b"x"]
            await store.remove_many(["another"])
            clock.advance(COOLDOWN_SECONDS / 4)
        behind.refused = {}
        clock.advance(COOLDOWN_SECONDS)
        await store.put_many({KEY: b"y"}, {KEY: 5.0})
    assert [snapshot.getMessage()[:16] for snapshot in caplog.records] == ["Redis is full: r", "Redis answers ag"]
    assert "cached results are still served" in caplog.records[0].getMessage()
    assert behind.puts == 26, "one a second, and then the one that was taken"


async def test_a_store_that_refuses_reads_takes_every_write(clock: HandClock) -> None:
    behind = CountingStore()
    behind.refused = {"get": "NOPERM"}
    store = standing_before(behind, clock)
    for number in range(5):
        assert await store.get_many([KEY]) == [None]
        await store.put_many({KEY: b"%d" % number}, {KEY: 5.0})
        assert behind.held[KEY] == b"%d" % number
    assert len(behind.asked) == 1


async def test_a_replica_that_refuses_every_write_is_one_warning(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    behind = CountingStore()
    behind.refused = {"put": "READONLY", "remove": "READONLY"}
    store = standing_before(behind, clock)
    for _ in range(3):
        await store.put_many({KEY: b"y"}, {KEY: 5.0})
        await store.remove_many([KEY])
        clock.advance(COOLDOWN_SECONDS)
    behind.refused = {}
    await store.put_many({KEY: b"y"}, {KEY: 5.0})
    assert [snapshot.getMessage()[:18] for snapshot in caplog.records] == ["Redis is a replica", "Redis answers agai"]


async def test_an_outage_that_turns_into_another_is_told_once_for_each(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    behind = CountingStore()
    store = standing_before(behind, clock)
    for is_out in (True, False, True, False):
        behind.is_out = is_out
        behind.refused = {"put": "READONLY"}
        for _ in range(3):
            await store.get_many([KEY])
            await store.put_many({KEY: b"y"}, {KEY: 5.0})
            clock.advance(COOLDOWN_SECONDS)
    begins = [snapshot.getMessage()[:18] for snapshot in caplog.records]
    assert begins == ["Redis does not ans", "Redis answers agai", "Redis is a replica", "Redis does not ans"]


async def test_a_store_that_fails_and_works_by_turns_is_a_line_a_minute_at_most(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    behind = CountingStore()
    store = standing_before(behind, clock)
    for turn in range(1000):
        behind.refused = {"put": "OOM"} if turn % 2 else {}
        await store.put_many({KEY: b"y"}, {KEY: 5.0})
        clock.advance(COOLDOWN_SECONDS)
    assert len(caplog.records) == 5, "two outages, and a third one that lasts"
    behind.refused = {}
    clock.advance(CALM_SECONDS)
    await store.put_many({KEY: b"y"}, {KEY: 5.0})
    assert caplog.records[-1].getMessage().startswith("Redis answers again")
