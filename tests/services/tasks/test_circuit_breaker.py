"""FailOpenStore: an unavailable store counts as empty, with a cooldown and one warning per outage."""

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


def breaker_for(store: CountingStore, clock: HandClock, notes: Notes | None = None) -> FailOpenStore:
    return FailOpenStore(store, notes or Notes(), clock)


async def test_operations_of_a_working_store_are_passed_through(clock: HandClock) -> None:
    inner = CountingStore()
    store = breaker_for(inner, clock)
    await store.put_many({KEY: b"x"}, {KEY: 5.0})
    assert await store.get_many([KEY, "other"]) == [b"x", None]
    assert inner.ttl_seconds == {KEY: 5.0}
    await store.ping()


async def test_while_the_store_is_unavailable_reads_are_empty_and_writes_dropped(clock: HandClock) -> None:
    inner, notes = CountingStore(), Notes()
    store = breaker_for(inner, clock, notes)
    inner.is_out = True
    assert await store.get_many([KEY, "other"]) == [None, None]
    clock.advance(COOLDOWN_SECONDS)
    await store.put_many({KEY: b"x"}, {KEY: 5.0})
    clock.advance(COOLDOWN_SECONDS)
    await store.remove_many([KEY])
    assert notes.store_failures == ["get", "put", "remove"]
    assert inner.held == {}


async def test_ping_raises_while_the_store_is_unavailable(clock: HandClock) -> None:
    inner = CountingStore()
    inner.is_out = True
    with pytest.raises(StoreUnavailable):
        await breaker_for(inner, clock).ping()


async def test_a_failed_store_is_not_called_during_the_cooldown(clock: HandClock) -> None:
    inner = CountingStore()
    inner.held[KEY] = b"x"
    store = breaker_for(inner, clock)
    inner.is_out = True
    await store.get_many([KEY])
    inner.is_out = False
    clock.advance(COOLDOWN_SECONDS - 0.01)
    assert await store.get_many([KEY]) == [None]
    await store.put_many({KEY: b"y"}, {KEY: 5.0})
    assert (len(inner.asked), inner.puts) == (1, 0)
    clock.advance(0.01)
    assert await store.get_many([KEY]) == [b"x"]


async def test_after_the_cooldown_one_caller_uses_the_store_and_others_do_not_wait(clock: HandClock) -> None:
    answer = asyncio.Event()

    class SlowStore(CountingStore):
        async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
            if not self.is_out:
                self.asked.append(list(keys))
                await answer.wait()
                return [b"x"]
            return await super().get_many(keys)

    inner = SlowStore()
    store = breaker_for(inner, clock)
    inner.is_out = True
    await store.get_many([KEY])
    inner.is_out = False
    clock.advance(COOLDOWN_SECONDS)
    probe = asyncio.create_task(store.get_many([KEY]))
    await asyncio.sleep(0)
    assert [await store.get_many([KEY]) for _ in range(10)] == [[None]] * 10
    answer.set()
    assert await probe == [b"x"]
    assert len(inner.asked) == 2
    assert await store.get_many([KEY]) == [b"x"], "all callers use the store again"


async def test_a_failure_after_the_cooldown_starts_another_one(clock: HandClock) -> None:
    inner = CountingStore()
    store = breaker_for(inner, clock)
    inner.is_out = True
    for _ in range(5):
        await store.get_many([KEY])
        await store.get_many([KEY])
        clock.advance(COOLDOWN_SECONDS)
    assert len(inner.asked) == 5


async def test_an_outage_logs_one_warning_at_its_start_and_one_at_its_end(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    inner, notes = CountingStore(), Notes()
    store = breaker_for(inner, clock, notes)
    with caplog.at_level(logging.INFO, logger="app"):
        for is_out in (False, True, True, True, False, False, True, False):
            inner.is_out = is_out
            clock.advance(COOLDOWN_SECONDS)
            await store.get_many([KEY])
    begins = [record.getMessage().startswith("Redis does not answer (out)") for record in caplog.records]
    assert begins == [True, False, True, False]
    assert len(notes.store_failures) == 4


async def test_concurrent_failures_log_one_warning(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    class FailingStore(CountingStore):
        async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
            await asyncio.sleep(0)
            raise StoreUnavailable("TimeoutError")

    store = breaker_for(FailingStore(), clock)
    with caplog.at_level(logging.INFO, logger="app"):
        await asyncio.gather(*(store.get_many([KEY]) for _ in range(50)))
    assert len(caplog.records) == 1


async def test_a_store_that_refuses_writes_still_serves_reads_and_logs_one_warning(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    inner = CountingStore()
    inner.held[KEY] = b"x"
    inner.refused = {"put": "OOM"}
    store = breaker_for(inner, clock)
    with caplog.at_level(logging.INFO, logger="app"):
        for _ in range(100):
            await store.put_many({KEY: b"y"}, {KEY: 5.0})
            assert await store.get_many([KEY]) == [b"x"]
            await store.remove_many(["another"])
            clock.advance(COOLDOWN_SECONDS / 4)
        inner.refused = {}
        clock.advance(COOLDOWN_SECONDS)
        await store.put_many({KEY: b"y"}, {KEY: 5.0})
    assert [record.getMessage()[:16] for record in caplog.records] == ["Redis is full: r", "Redis answers ag"]
    assert "cached results are still served" in caplog.records[0].getMessage()
    assert inner.puts == 26, "one try a second, and then the successful one"


async def test_a_store_that_refuses_reads_still_accepts_writes(clock: HandClock) -> None:
    inner = CountingStore()
    inner.refused = {"get": "NOPERM"}
    store = breaker_for(inner, clock)
    for number in range(5):
        assert await store.get_many([KEY]) == [None]
        await store.put_many({KEY: b"%d" % number}, {KEY: 5.0})
        assert inner.held[KEY] == b"%d" % number
    assert len(inner.asked) == 1


async def test_refused_puts_and_removes_log_one_warning(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    inner = CountingStore()
    inner.refused = {"put": "READONLY", "remove": "READONLY"}
    store = breaker_for(inner, clock)
    for _ in range(3):
        await store.put_many({KEY: b"y"}, {KEY: 5.0})
        await store.remove_many([KEY])
        clock.advance(COOLDOWN_SECONDS)
    inner.refused = {}
    await store.put_many({KEY: b"y"}, {KEY: 5.0})
    assert [record.getMessage()[:18] for record in caplog.records] == ["Redis is a replica", "Redis answers agai"]


async def test_each_kind_of_failure_in_an_outage_is_logged_once(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    inner = CountingStore()
    store = breaker_for(inner, clock)
    for is_out in (True, False, True, False):
        inner.is_out = is_out
        inner.refused = {"put": "READONLY"}
        for _ in range(3):
            await store.get_many([KEY])
            await store.put_many({KEY: b"y"}, {KEY: 5.0})
            clock.advance(COOLDOWN_SECONDS)
    begins = [record.getMessage()[:18] for record in caplog.records]
    assert begins == ["Redis does not ans", "Redis answers agai", "Redis is a replica", "Redis does not ans"]


async def test_a_store_that_alternates_between_failure_and_success_does_not_flood_the_log(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    inner = CountingStore()
    store = breaker_for(inner, clock)
    for turn in range(1000):
        inner.refused = {"put": "OOM"} if turn % 2 else {}
        await store.put_many({KEY: b"y"}, {KEY: 5.0})
        clock.advance(COOLDOWN_SECONDS)
    assert len(caplog.records) == 5, "two outages, and a third one that lasts"
    inner.refused = {}
    clock.advance(CALM_SECONDS)
    await store.put_many({KEY: b"y"}, {KEY: 5.0})
    assert caplog.records[-1].getMessage().startswith("Redis answers again")
