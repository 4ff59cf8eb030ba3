"""Corruption of the values in Redis: truncated, exchanged between keys, forged, or random bytes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from typing import Any, Final, TypeVar

import redis

from app.adapters.value_signer import SIGNATURE_BYTES
from tests.support.redis_server import RedisServer

Kept = dict[bytes, tuple[bytes | None, bytes]]
"""For each corrupted key: its original value (None if there was none), and the value written."""

FINISHED = b'"done"'
"""Marks a reservation whose purchase is over. Its holder would overwrite any other one."""

PLANTED_SECONDS = 60
BATCH = 200
IN_PLACE: Final[Mapping[str, Any]] = {"xx": True, "keepttl": True}
"""Options of SET that replace an existing value and keep its expiry."""

MAX_AT_ONCE = 5_000
"""The most keys of one kind that one pass corrupts: more than a scenario creates, fewer than a long soak does."""

T = TypeVar("T")


def poison(server: RedisServer, random: Random, kept: Kept) -> None:
    """Corrupt every cached task again, each record and reservation once, and plant records under keys without one.

    `kept` is updated, so that `restore` can undo the changes to records and reservations. "Record" is the name for
    snapshots of running tasks in the keys. The service writes no reservations any more, so none are found.
    """
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
    """Write back the original values in `kept`, unless the service has replaced them; delete all cached tasks."""
    with server.client() as client:
        current = _held(client, kept)
        mine = {key: original for key, (original, spoilt) in kept.items() if current[key] == spoilt}
        _put(client, {key: original for key, original in mine.items() if original is not None}, **IN_PLACE)
        _delete(client, [*_names(client, b":task:"), *(key for key, original in mine.items() if original is None)])


def _strange(records: Mapping[bytes, bytes], random: Random) -> dict[bytes, bytes]:
    """Return records to plant for tenants without the task: another tenant's record, or one of another task."""
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
    return {key: found[key] for key in random.sample(list(found), min(len(found), MAX_AT_ONCE))}


def _held(client: redis.Redis, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
    pairs = ((key, value) for batch in _batches(keys) for key, value in zip(batch, client.mget(batch), strict=True))
    return {key: value if isinstance(value, bytes) else None for key, value in pairs}


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield batches that are small enough not to delay the service: Redis runs one command at a time."""
    left = iter(items)
    while batch := list(islice(left, BATCH)):
        yield batch


def _put(client: redis.Redis, values: Mapping[bytes, bytes], **options: Any) -> None:
    for batch in _batches(values.items()):
        pipeline = client.pipeline(transaction=False)
        for key, value in batch:
            pipeline.set(key, value, **options)
        pipeline.execute()


def _delete(client: redis.Redis, keys: Iterable[bytes]) -> None:
    for batch in _batches(keys):
        client.delete(*batch)


def _spoilt(values: Mapping[bytes, bytes], random: Random) -> dict[bytes, bytes]:
    """Return a corrupt value for each key, most often another tenant's value of the same name.

    A forged value has its own signature in front of the content of another key, which that signature does not cover.
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
    signature, content = value[:SIGNATURE_BYTES], value[SIGNATURE_BYTES:]
    foreign_key, foreign = random.choice(anything)
    forged = signature + foreign[SIGNATURE_BYTES:] if _name(foreign_key) != _name(key) else foreign
    return random.choice((value[: len(value) // 2], foreign, forged, b"\x00\xff", content))


def _tenant(key: bytes) -> bytes:
    return key.partition(b"}")[0] + b"}"


def _name(key: bytes) -> bytes:
    """Return the part of a key after the tenant: kind and name."""
    return key.partition(b"}")[2]
