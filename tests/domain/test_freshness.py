"""Times to live of cached tasks, and the advice when to ask again."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD, polling_policy
from app.domain.errors import (
    AccountDisabled,
    BackendError,
    BackendTimeout,
    ErrorCode,
    InvalidRequest,
    NoCredit,
    RateLimited,
    Refused,
    Unauthorized,
)
from app.domain.freshness import CachePolicy, poll_after, time_to_live, video_url_expires_at
from app.domain.task import Failure, LookupResult, Task, TaskState, Video

NOW = 1_790_000_000.0
DAY = 24 * 3600.0
POLICY = CachePolicy(result_seconds=30 * DAY, pending_seconds=3.0)
VIDEO = Video("https://cdn.example.com/a.mp4")
FAILURE = Failure(ErrorCode.BACKEND_ERROR, "No.")
POLLING = polling_policy(150.0)
LASTING = (Unauthorized, NoCredit, AccountDisabled, Refused, InvalidRequest)


def running(age: float | None = None, state: TaskState = TaskState.PENDING) -> Task:
    return Task("task-0", state, created_at=None if age is None else NOW - age)


def done(finished: float | None, created: float | None = None) -> Task:
    return Task(
        "task-0",
        TaskState.COMPLETED,
        video=VIDEO,
        created_at=None if created is None else NOW - created,
        finished_at=None if finished is None else NOW - finished,
    )


def failed(finished: float | None) -> Task:
    finished_at = None if finished is None else NOW - finished
    return Task("task-0", TaskState.FAILED, failure=FAILURE, finished_at=finished_at)


@pytest.mark.parametrize(
    ("task", "seconds"),
    [
        (running(), 3.0),
        (running(10 * DAY), 3.0),
        (running(5, TaskState.PROCESSING), 3.0),
        (done(0), 30 * DAY),
        (done(10 * DAY), 20 * DAY),
        (done(30 * DAY - 10), 10.0),
        (done(30 * DAY - 1), 3.0),
        (done(30 * DAY), 3.0),
        (done(400 * DAY), 3.0),
        (done(-5 * DAY), 30 * DAY),
        (done(None, created=10 * DAY), 20 * DAY),
        (done(None), 30 * DAY),
        (failed(0), 30 * DAY),
        (failed(29 * DAY), DAY),
        (failed(31 * DAY), 3.0),
        (failed(None), 30 * DAY),
    ],
    ids=[
        "pending",
        "pending for days",
        "processing",
        "finished now",
        "finished days ago",
        "about to expire",
        "expiring before a running task's entry",
        "expired",
        "expired long ago",
        "finished in the future, by the backend's clock",
        "no end known, created days ago",
        "no time known",
        "failed now",
        "failed weeks ago",
        "failed over a month ago",
        "failed at no known time",
    ],
)
def test_time_to_live_by_state_and_age(task: Task, seconds: float) -> None:
    assert time_to_live(task, NOW, POLICY) == seconds


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [(3600.0, 3600.0), (40 * DAY, 29 * DAY), (1.0, 3.0), (-DAY, 3.0)],
    ids=["link expires first", "time to live ends first", "link expires within a second", "link has expired"],
)
def test_time_to_live_ends_with_the_link(expires_in: float, seconds: float) -> None:
    task = replace(done(DAY), video=replace(VIDEO, expires_at=NOW + expires_in))
    assert time_to_live(task, NOW, POLICY) == seconds


@pytest.mark.parametrize(
    ("task", "expiry"),
    [(replace(done(DAY), video=replace(VIDEO, expires_at=NOW)), NOW), (done(DAY), None), (failed(DAY), None)],
)
def test_video_url_expires_at_is_the_expiry_of_the_link(task: Task, expiry: float | None) -> None:
    assert video_url_expires_at(task) == expiry


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ([], None),
        ([None], None),
        ([done(DAY), failed(DAY), None], None),
        ([running()], 60),
        ([running(0)], 60),
        ([running(-500)], 60),
        ([running(10.2)], 50),
        ([running(44)], 16),
        ([running(50)], 15),
        ([running(5000)], 15),
        ([running(5000, TaskState.PROCESSING)], 15),
        ([running(0), running(30), done(DAY), None], 30),
        ([ACEDATACLOUD.error(BackendError)], 5),
        ([ACEDATACLOUD.error(BackendTimeout)], 5),
        ([ACEDATACLOUD.error(RateLimited, retry_after_seconds=12.1)], 13),
        ([ACEDATACLOUD.error(RateLimited, retry_after_seconds=0.0)], 1),
        ([ACEDATACLOUD.error(BackendError, retry_after_seconds=900)], 900),
        ([ACEDATACLOUD.error(kind) for kind in LASTING], None),
        ([ACEDATACLOUD.error(Unauthorized), running(0)], 60),
        ([ACEDATACLOUD.error(BackendError), running(0), done(DAY)], 5),
        ([ACEDATACLOUD.error(RateLimited, retry_after_seconds=90), running(0)], 60),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)
def test_poll_after_is_the_earliest_time_for_any_result(answers: Sequence[LookupResult], seconds: int | None) -> None:
    assert poll_after(answers, NOW, POLLING) == seconds


@pytest.mark.parametrize(
    ("expected_seconds", "first", "after"), [(150.0, 60, 15), (8.0, 4, 2), (1.0, 1, 2), (60.0, 24, 6), (600.0, 240, 15)]
)
def test_polling_policy_follows_the_expected_duration(expected_seconds: float, first: int, after: int) -> None:
    polling = polling_policy(expected_seconds)
    assert (polling.client_first_poll_seconds, polling.client_poll_interval_seconds) == (first, after)


def test_poll_after_is_shorter_for_a_fast_backend() -> None:
    assert [poll_after([running(age)], NOW, polling_policy(8.0)) for age in (0, 1, 2, 7, 100)] == [4, 3, 2, 2, 2]
