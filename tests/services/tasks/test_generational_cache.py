"""GenerationalCache: eviction of unused entries, and the bound on the weight."""

from copy import deepcopy
from random import Random

from app.services.tasks.generational_cache import GenerationalCache


def cache_of(most: int) -> GenerationalCache[str, bytes]:
    return GenerationalCache(most, len)


def put(cache: GenerationalCache[str, bytes], *keys: str, size: int = 10) -> None:
    cache.put_many(dict.fromkeys(keys, b"x" * size), size * len(keys))


def are_cached(cache: GenerationalCache[str, bytes], *keys: str) -> list[bool]:
    return [value is not None for value in cache.get_many(keys)]


def test_get_many_returns_values_in_the_order_of_the_keys() -> None:
    cache = cache_of(1000)
    cache.put_many({"a": b"A", "b": b"B"}, 2)
    assert cache.get_many(["b", "nothing", "a"]) == [b"B", None, b"A"]


def test_unused_entries_are_evicted_before_used_ones() -> None:
    cache = cache_of(100)
    put(cache, "a", "b", "c", "d", "e")
    put(cache, "f")  # a to e are the older generation now
    assert are_cached(cache, "a", "e") == [True, True]
    put(cache, "g", "h", "i")
    assert are_cached(cache, "a", "b", "c", "d", "e", "f") == [True, False, False, False, True, True]


def test_put_many_ignores_entries_heavier_than_half_of_the_limit() -> None:
    cache = cache_of(100)
    put(cache, "a")
    put(cache, "b", size=51)
    assert are_cached(cache, "a", "b") == [True, False]


def test_the_weight_stays_bounded_in_random_sequences() -> None:
    cache, random = cache_of(1000), Random(3)
    for _ in range(2000):
        keys = [f"k{random.randrange(300)}" for _ in range(random.randrange(1, 8))]
        if random.random() < 0.5:
            cache.get_many(keys)
        else:
            put(cache, *dict.fromkeys(keys), size=random.randrange(1, 60))
        assert cache.weight <= 1000
        held = deepcopy(cache).get_many([f"k{number}" for number in range(300)])
        assert sum(len(value) for value in held if value is not None) <= cache.weight
