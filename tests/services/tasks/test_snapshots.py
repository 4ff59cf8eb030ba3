"""TaskSnapshots: the grace period of new tasks, storage for a day, and altered values."""

from collections.abc import Callable

import pytest

from app.domain.snapshot import GRACE_SECONDS, SNAPSHOT_LIFE_SECONDS, TaskSnapshot, pending_task, snapshot_after_read
from app.domain.task import Task, TaskState
from app.mcp_server.tools.rendering import render
from app.services.tasks.circuit_breaker import FailOpenStore
from app.services.tasks.snapshots import TaskSnapshots
from tests.support.clock import HandClock
from tests.support.keeping import RECORDS
from tests.support.rendering import just_submitted, rendered
from tests.support.stores import CountingStore
from tests.support.telemetry import Notes

A, B = "tenant-a", "tenant-b"


def snapshots_in(store: CountingStore, clock: HandClock) -> TaskSnapshots:
    return TaskSnapshots(
        FailOpenStore(store, Notes(), clock), RECORDS, render=render, wall_clock=clock, monotonic_clock=clock
    )


async def test_a_submitted_task_is_pending_on_every_replica(clock: HandClock) -> None:
    store = CountingStore()
    here = snapshots_in(store, clock)
    await here.put_many(A, [just_submitted("a", clock())])
    pending = rendered(pending_task("a", clock()))
    clock.advance(10)
    for replica in (here, snapshots_in(store, clock)):
        assert await replica.recently_submitted(A, ["a", "b"]) == {"a": pending}


async def test_recently_submitted_ends_after_grace_seconds(clock: HandClock) -> None:
    store = CountingStore()
    here = snapshots_in(store, clock)
    await here.put_many(A, [just_submitted("a", clock())])
    in_grace = []
    for pause in (GRACE_SECONDS - 0.1, 0.1):
        clock.advance(pause)
        in_grace.append(
            [list(await replica.recently_submitted(A, ["a"])) for replica in (here, snapshots_in(store, clock))]
        )
    assert in_grace == [[["a"], ["a"]], [[], []]]


async def test_recently_submitted_works_on_a_replica_whose_clock_is_behind(clock: HandClock) -> None:
    store = CountingStore()
    await snapshots_in(store, clock).put_many(A, [just_submitted("a", clock())])
    assert list(await snapshots_in(store, HandClock(clock() - 5)).recently_submitted(A, ["a"])) == ["a"]


async def test_a_process_keeps_its_own_new_snapshots_while_the_store_is_unavailable(clock: HandClock) -> None:
    store = CountingStore()
    store.is_out = True
    here = snapshots_in(store, clock)
    await here.put_many(A, [just_submitted("a", clock())])
    assert list(await here.recently_submitted(A, ["a"])) == ["a"]
    clock.advance(GRACE_SECONDS)
    assert await here.get_many(A, ["a"]) == {}


async def test_snapshots_are_stored_completely_for_a_day(clock: HandClock) -> None:
    store = CountingStore()
    began = just_submitted("a", clock(), expects_callback=True)
    shown = Task("b", TaskState.PROCESSING, "F\u00fcchse", created_at=clock())
    kept = [
        began,
        snapshot_after_read(None, rendered(shown), clock()),
        TaskSnapshot(rendered(Task("c", TaskState.PENDING))),
    ]
    await snapshots_in(store, clock).put_many(A, kept)
    found = await snapshots_in(store, clock).get_many(A, ["c", "nothing", "b", "a"])
    assert found == {snapshot.task.id: snapshot for snapshot in kept}
    assert set(store.ttl_seconds.values()) == {SNAPSHOT_LIFE_SECONDS}


async def test_get_many_and_put_many_are_one_round_trip_each(clock: HandClock) -> None:
    store = CountingStore()
    here = snapshots_in(store, clock)
    await here.put_many(A, [just_submitted(str(number), clock()) for number in range(120)])
    await here.get_many(A, [str(number) for number in range(120)])
    assert (store.puts, len(store.asked)) == (1, 1)


async def test_snapshots_of_one_tenant_are_not_returned_to_another(clock: HandClock) -> None:
    store = CountingStore()
    here = snapshots_in(store, clock)
    await here.put_many(A, [just_submitted("a", clock())])
    assert await here.get_many(B, ["a"]) == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value[:0],
        lambda value: value[:-1],
        lambda value: value[16:],
        lambda value: bytes(16) + value[16:],
        lambda value: bytes([value[0] ^ 1]) + value[1:],
        lambda value: value[:40] + bytes([value[40] ^ 2]) + value[41:],
        lambda value: value + b"\xff",
    ],
)
async def test_an_altered_snapshot_is_not_returned(spoil: Callable[[bytes], bytes], clock: HandClock) -> None:
    store = CountingStore()
    await snapshots_in(store, clock).put_many(A, [just_submitted("a", clock())])
    store.held = {key: spoil(value) for key, value in store.held.items()}
    assert await snapshots_in(store, clock).get_many(A, ["a"]) == {}
