"""What a store may come to hold that nobody put there so: values cut short, exchanged, forged, or noise."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from typing import Any, Final, TypeVar

import redis

from app.adapters.value_signer import SIGNATURE_BYTES
from tests.support.redis_server import RedisServer

Kept = dict[bytes, tuple[bytes | None, bytes]]
"""By key: what was there, if anything, and what it was spoilt with."""

FINISHED = b'"done"'
"""In a reservation whose purchase is over; one that is under way would be changed by its holder meanwhile."""

PLANTED_SECONDS = 60
LOT = 200
IN_PLACE: Final[Mapping[str, Any]] = {"xx": True, "keepttl": True}
"""How a value is put where one is already, for as long as that one would have stayed."""

MOST_AT_ONCE = 5_000
"""Keys of a kind that are spoilt in one go: all that one scenario makes, and a part of what a long run gathers."""

T = TypeVar("T")


def poison(server: RedisServer, random: Random, kept: Kept) -> None:
    """Spoil every cached task anew; each record and reservation once; and plant records where none should be."""
    with server.client() as client:
        tasks, records = _values(client, b":task:", random), _values(client, b":record:", random)
        others = {**records, **_values(client, b":reservation:", random)}
        fresh = {key: value for key, value in others.items() if key not in kept and _may_be_spoilt(key, value)}
        strange = _strange({key: value for key, value in fresh.items() if b":record:" in key}, random)
        planted = _some({key: value for key, value in strange.items() if key not in kept}, random)
        spoilt = _spoilt(fresh, random)
        kept |= {key: (fresh[key], value) for key, value in spoilt.items()}
        kept |= {key: (None, value) for key, value in planted.items()}
        _put(client, {**_spoilt(tasks, random), **spoilt}, **IN_PLACE)
        _put(client, planted, ex=PLANTED_SECONDS)


def restore(server: RedisServer, kept: Kept) -> None:
    """Put back what was there, wherever nobody has put anything else since; tasks are forgotten, as in any cache."""
    with server.client() as client:
        there = _held(client, kept)
        mine = {key: whole for key, (whole, spoilt) in kept.items() if there[key] == spoilt}
        _put(client, {key: whole for key, whole in mine.items() if whole is not None}, **IN_PLACE)
        _forget(client, [*_names(client, b":task:"), *(key for key, whole in mine.items() if whole is None)])


def _strange(records: Mapping[bytes, bytes], random: Random) -> dict[bytes, bytes]:
    """Return records for tasks that tenants do not have: the owner's own, or the tenant's own of another task."""
    by_tenant: dict[bytes, list[bytes]] = defaultdict(list)
    for key, value in records.items():
        by_tenant[_tenant(key)].append(value)
    return {
        strange: random.choice([value, random.choice(own)])
        for key, value in records.items()
        for tenant, own in by_tenant.items()
        if (strange := tenant + _name(key)) not in records
    }


def _may_be_spoilt(key: bytes, value: bytes) -> bool:
    return b":record:" in key or FINISHED in value


def _names(client: redis.Redis, kind: bytes) -> list[bytes]:
    return [key for key in client.scan_iter(count=1000) if isinstance(key, bytes) and kind in key]


def _values(client: redis.Redis, kind: bytes, random: Random) -> dict[bytes, bytes]:
    held = _held(client, _some(dict.fromkeys(_names(client, kind)), random))
    return {key: value for key, value in held.items() if value is not None}


def _some(found: Mapping[bytes, T], random: Random) -> dict[bytes, T]:
    return {key: found[key] for key in random.sample(list(found), min(len(found), MOST_AT_ONCE))}


def _held(client: redis.Redis, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
    pairs = ((key, value) for lot in _lots(keys) for key, value in zip(lot, client.mget(lot), strict=True))
    return {key: value if isinstance(value, bytes) else None for key, value in pairs}


def _lots(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield what one round trip may carry: Redis does one thing at a time, and others are waiting."""
    left = iter(items)
    while lot := list(islice(left, LOT)):
        yield lot


def _put(client: redis.Redis, values: Mapping[bytes, bytes], **how: Any) -> None:
    for lot in _lots(values.items()):
        pipeline = client.pipeline(transaction=False)
        for key, value in lot:
            pipeline.set(key, value, **how)
        pipeline.execute()


def _forget(client: redis.Redis, keys: Iterable[bytes]) -> None:
    for lot in _lots(keys):
        client.delete(*lot)


def _spoilt(values: Mapping[bytes, bytes], random: Random) -> dict[bytes, bytes]:
    """Return something bad for each value: most often what another tenant has under the same name.

    A forged value has the mark of its own before what belongs under another name, which that mark does not cover.
    """
    same_name: dict[bytes, list[bytes]] = defaultdict(list)
    for key, value in values.items():
        same_name[_name(key)].append(value)
    return {key: _bad(key, value, same_name[_name(key)], list(values.items()), random) for key, value in values.items()}


def _bad(
    key: bytes, value: bytes, same_name: Sequence[bytes], anything: Sequence[tuple[bytes, bytes]], random: Random
) -> bytes:
    exchanged = [other for other in same_name if other != value]
    if exchanged and random.random() < 0.5:
        return random.choice(exchanged)
    mark, rest = value[:SIGNATURE_BYTES], value[SIGNATURE_BYTES:]
    elsewhere, foreign = random.choice(anything)
    forged = mark + foreign[SIGNATURE_BYTES:] if _name(elsewhere) != _name(key) else foreign
    return random.choice((value[: len(value) // 2], foreign, forged, b"\x00\xff", rest))


def _tenant(key: bytes) -> bytes:
    return key.partition(b"}")[0] + b"}"


def _name(key: bytes) -> bytes:
    """Return what is the same in the keys of different tenants: all that follows the tenant."""
    return key.partition(b"}")[2]
