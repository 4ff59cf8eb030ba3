"""Snapshots of running tasks: changes of state, grace period, and the time of the next read."""

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD, polling_policy
from app.domain.errors import BackendError, NotFound, Unauthorized
from app.domain.rendered import TaskResult
from app.domain.snapshot import (
    GRACE_SECONDS,
    TaskSnapshot,
    is_in_grace,
    is_settled,
    next_read_at,
    pending_task,
    snapshot_after_read,
    with_cached_task,
)
from app.domain.task import Task, TaskState, Video
from tests.support.rendering import just_submitted, rendered

POLLING = polling_policy(150.0)
DONE = rendered(Task("a", TaskState.COMPLETED, video=Video("https://cdn.example.com/a.mp4")))
RUNNING = rendered(Task("a", TaskState.PROCESSING, created_at=100.0))


def test_a_submitted_task_is_pending() -> None:
    snapshot = just_submitted("a", 100.0, expects_callback=True)
    assert snapshot.task == rendered(pending_task("a", 100.0))
    assert pending_task("a", 100.0) == Task("a", TaskState.PENDING, created_at=100.0)
    assert (snapshot.submitted_at, snapshot.changed_at, snapshot.read_at, snapshot.expects_callback) == (
        100,
        100,
        None,
        True,
    )


def test_snapshot_after_read_stores_the_task_and_the_time_of_its_change() -> None:
    snapshot = snapshot_after_read(just_submitted("a", 100.0, expects_callback=True), RUNNING, 120.0)
    assert (snapshot.task, snapshot.read_at, snapshot.changed_at) == (RUNNING, 120.0, 120.0)
    assert snapshot.expects_callback is False, "it was read while it still ran"
    assert snapshot_after_read(snapshot, RUNNING, 130.0).changed_at == 120.0
    assert snapshot_after_read(snapshot, DONE, 140.0).changed_at == 140.0


def test_a_final_state_never_changes_again() -> None:
    final = snapshot_after_read(None, DONE, 100.0)
    assert snapshot_after_read(final, RUNNING, 200.0) is final


@pytest.mark.parametrize(
    ("snapshot", "now", "expected"),
    [
        (None, 0.0, False),
        (just_submitted("a", 100.0), 100.0, True),
        (just_submitted("a", 100.0), 100.0 + GRACE_SECONDS - 1, True),
        (just_submitted("a", 100.0), 100.0 + GRACE_SECONDS, False),
        (TaskSnapshot(RUNNING, read_at=100.0), 101.0, False),
    ],
)
def test_is_in_grace_for_a_minute_after_submission(
    snapshot: TaskSnapshot | None, now: float, *, expected: bool
) -> None:
    assert is_in_grace(snapshot, now) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (DONE, True),
        (RUNNING, False),
        (None, True),
        (ACEDATACLOUD.error(BackendError), False),
        (ACEDATACLOUD.error(Unauthorized), True),
        (ACEDATACLOUD.error(NotFound), True),
    ],
)
def test_is_settled_when_the_result_cannot_change(answer: TaskResult, *, expected: bool) -> None:
    assert is_settled(answer) is expected


@pytest.mark.parametrize(
    ("read_at", "expects_callback", "expected"),
    [
        (None, False, 110.0),
        (None, True, 280.0),
        (101.0, False, 110.0),
        (110.0, False, 115.0),
        (150.0, False, 155.0),
        (180.0, False, 188.0),
        (250.0, False, 265.0),
        (900.0, False, 915.0),
    ],
)
def test_next_read_at_follows_the_age_of_the_task(
    read_at: float | None, *, expects_callback: bool, expected: float
) -> None:
    snapshot = TaskSnapshot(RUNNING, submitted_at=100.0, read_at=read_at, expects_callback=expects_callback)
    assert next_read_at(snapshot, POLLING) == pytest.approx(expected)


def test_next_read_at_is_not_delayed_when_the_clock_of_the_backend_is_ahead() -> None:
    ahead = rendered(Task("a", TaskState.PROCESSING, created_at=30_000_000_000.0))
    snapshot = snapshot_after_read(just_submitted("a", 100.0), ahead, 120.0)
    assert next_read_at(snapshot, POLLING) < 120 + 60


def test_a_snapshot_takes_the_cached_task_if_both_are_in_one_state() -> None:
    snapshot = snapshot_after_read(None, RUNNING, 120.0)
    copy = rendered(Task("a", TaskState.PROCESSING, created_at=100.0))
    taken = with_cached_task(snapshot, copy)
    assert taken.task is copy
    assert taken == snapshot
    assert with_cached_task(snapshot, DONE) is with_cached_task(snapshot, None) is snapshot
