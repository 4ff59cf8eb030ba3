"""The store of a single process beyond the contract: its clock and its limit in bytes."""

from app.adapters.memory.store import OVERHEAD_BYTES, MemoryStore
from tests.support.clock import HandClock

KEYS = ["{tenant-a}:task:1:a", "{tenant-a}:task:1:b"]


async def test_each_value_in_memory_expires_after_its_own_ttl(clock: HandClock) -> None:
    store = MemoryStore(capacity_bytes=1_000_000, clock=clock)
    await store.put_many(dict.fromkeys(KEYS[:2], b"x"), {KEYS[0]: 3.0, KEYS[1]: 60.0})
    found = []
    for pause in (2.9, 0.2, 56.8, 0.2):
        clock.advance(pause)
        found.append([value is not None for value in await store.get_many(KEYS[:2])])
    assert found == [[True, True], [False, True], [False, True], [False, False]]


async def test_the_memory_store_is_bounded_in_bytes(clock: HandClock) -> None:
    key_bytes, value = 100, b"x" * 600
    store = MemoryStore(capacity_bytes=10 * (key_bytes + len(value) + OVERHEAD_BYTES), clock=clock)
    keys = [f"{number:0{key_bytes}}" for number in range(100)]
    for key in keys:
        await store.put_many({key: value}, {key: 60.0})
    assert await store.get_many(keys) == [None] * 90 + [value] * 10


async def test_the_least_recently_used_values_are_evicted_first(clock: HandClock) -> None:
    store = MemoryStore(capacity_bytes=3 * (1 + 1 + OVERHEAD_BYTES), clock=clock)
    for key in "abc":
        await store.put_many({key: b"x"}, {key: 60.0})
    await store.get_many(["a"])
    await store.put_many({"d": b"x"}, {"d": 60.0})
    assert await store.get_many(["a", "b", "c", "d"]) == [b"x", None, b"x", b"x"]


async def test_a_value_larger_than_the_store_is_dropped_without_evicting_others(clock: HandClock) -> None:
    store = MemoryStore(capacity_bytes=1_000, clock=clock)
    await store.put_many({"a": b"x", "b": b"x" * 1_000, "c": b"x"}, dict.fromkeys("abc", 60.0))
    assert await store.get_many(["a", "b", "c"]) == [b"x", None, b"x"]
    await store.put_many({"a": b"y" * 1_000}, {"a": 60.0})
    assert await store.get_many(["a"]) == [None], "an outdated value is worse than none"
