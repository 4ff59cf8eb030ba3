"""What stays in a bounded dict of two generations, and how much it may hold."""

from copy import deepcopy
from random import Random

from app.services.tasks.generational_cache import GenerationalCache


def sized(most: int) -> GenerationalCache[str, bytes]:
    return GenerationalCache(most, len)


def put(kept: GenerationalCache[str, bytes], *keys: str, size: int = 10) -> None:
    kept.put_many(dict.fromkeys(keys, b"x" * size), size * len(keys))


def there(kept: GenerationalCache[str, bytes], *keys: str) -> list[bool]:
    return [value is not None for value in kept.get_many(keys)]


def test_each_key_gets_its_own_value_in_the_order_asked() -> None:
    kept = sized(1000)
    kept.put_many({"a": b"A", "b": b"B"}, 2)
    assert kept.get_many(["b", "nothing", "a"]) == [b"B", None, b"A"]


def test_what_was_used_stays_and_what_was_not_makes_room() -> None:
    kept = sized(100)
    put(kept, "a", "b", "c", "d", "e")
    put(kept, "f")  # a to e are the older generation now
    assert there(kept, "a", "e") == [True, True]
    put(kept, "g", "h", "i")
    assert there(kept, "a", "b", "c", "d", "e", "f") == [True, False, False, False, True, True]


def test_what_is_heavier_than_half_of_the_room_is_not_kept() -> None:
    kept = sized(100)
    put(kept, "a")
    put(kept, "b", size=51)
    assert there(kept, "a", "b") == [True, False]


def test_the_weight_is_bounded_however_it_is_used() -> None:
    kept, random = sized(1000), Random(3)
    for _ in range(2000):
        keys = [f"k{random.randrange(300)}" for _ in range(random.randrange(1, 8))]
        if random.random() < 0.5:
            kept.get_many(keys)
        else:
            put(kept, *dict.fromkeys(keys), size=random.randrange(1, 60))
        assert kept.weight <= 1000
        held = deepcopy(kept).get_many([f"k{number}" for number in range(300)])
        assert sum(len(value) for value in held if value is not None) <= kept.weight
