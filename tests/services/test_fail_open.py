"""A store that is out is an empty store: one warning per outage, a rest, and one caller that tries again."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from app.ports import StoreUnavailable
from app.services.fail_open import REST_SECONDS, FailOpenStore
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
    clock.advance(REST_SECONDS)
    await store.put_many({KEY: b"x"}, {KEY: 5.0})
    clock.advance(REST_SECONDS)
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
    clock.advance(REST_SECONDS - 0.01)
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
    clock.advance(REST_SECONDS)
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
        clock.advance(REST_SECONDS)
    assert len(behind.asked) == 5


async def test_an_outage_is_one_warning_and_its_end_another(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    behind, notes = CountingStore(), Notes()
    store = standing_before(behind, clock, notes)
    with caplog.at_level(logging.INFO, logger="app"):
        for is_out in (False, True, True, True, False, False, True, False):
            behind.is_out = is_out
            clock.advance(REST_SECONDS)
            await store.get_many([KEY])
    begins = [record.getMessage().startswith("Redis does not answer (out)") for record in caplog.records]
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
