"""CancelMarks: repeated marks, and marks without a valid signature."""

import pytest

from app.adapters.memory.coordination import MemoryCoordination
from app.ports.coordination import Leases
from app.ports.store import StoreUnavailable
from app.services.tasks.cancel_marks import CancelMarks
from tests.support.clock import HandClock
from tests.support.keeping import KEYS, SIGNER


class UnavailableLeases(MemoryCoordination):
    """A coordination whose leases are unavailable."""

    async def get(self, key: str) -> bytes | None:
        raise StoreUnavailable

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        raise StoreUnavailable


def marks_in(leases: Leases, clock: HandClock) -> CancelMarks:
    return CancelMarks(leases, SIGNER, KEYS, clock)


async def test_a_second_mark_keeps_the_time_of_the_first(clock: HandClock) -> None:
    marks, began = marks_in(MemoryCoordination(clock), clock), clock()
    await marks.put("owner", "task-1")
    clock.advance(60)
    await marks.put("owner", "task-1")
    assert await marks.marked_at("owner", "task-1") == began
    assert await marks.marked_at("owner", "task-2") is None
    assert await marks.marked_at("other", "task-1") is None


async def test_copied_and_unsigned_marks_are_ignored(clock: HandClock) -> None:
    leases = MemoryCoordination(clock)
    marks = marks_in(leases, clock)
    await marks.put("owner", "task-1")
    signed = await leases.get(KEYS.key("owner", "cancelled", "task-1"))
    assert signed is not None
    await leases.put_if_absent(KEYS.key("owner", "cancelled", "task-2"), signed, 60.0)
    await leases.put_if_absent(KEYS.key("owner", "cancelled", "task-3"), b"1.0", 60.0)
    assert await marks.marked_at("owner", "task-2") is None
    assert await marks.marked_at("owner", "task-3") is None


async def test_marked_at_returns_none_and_put_raises_while_the_store_is_unavailable(clock: HandClock) -> None:
    marks = marks_in(UnavailableLeases(clock), clock)
    assert await marks.marked_at("owner", "task-1") is None
    with pytest.raises(StoreUnavailable):
        await marks.put("owner", "task-1")
