"""AceDataCloud's records with invalid values: such a value is treated as absent, and affects no other."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.adapters.acedata.wire import task_from
from app.domain.task import Task, TaskState
from tests.support.acedata import NOW, completed, read, with_response


@pytest.mark.parametrize("value", ["1725077411.961", True, False, None, [], {}, -1, -0.5, 1e300, NOW * 1000, 10**400])
def test_an_invalid_time_is_treated_as_absent(value: Any) -> None:
    record = completed("task-0", created_at=value, started_at=value, finished_at=value, elapsed=value)
    task = read(record)
    assert (task.created_at, task.finished_at, task.elapsed_seconds) == (None, None, None)
    assert task.state is TaskState.COMPLETED, "the URL is enough"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_nan_and_infinity_are_not_times(text: str) -> None:
    assert read(completed("task-0", created_at=json.loads(text))).created_at is None


def test_an_integer_time_is_a_time() -> None:
    assert read(completed("task-0", created_at=1_725_077_411)).created_at == 1_725_077_411.0


def test_the_elapsed_time_is_zero_if_the_times_are_reversed() -> None:
    assert read(completed("task-0", started_at=NOW, elapsed=None)).elapsed_seconds == 0.0


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        5,
        [],
        {},
        "not a url",
        "javascript:alert(1)",
        "data:video/mp4;base64,AAAA",
        "file:///etc/passwd",
        "//cdn.example.com/a.mp4",
        "/a.mp4",
        "https://cdn.example.com/a b.mp4",
        "https://cdn.example.com/a\n.mp4",
        "https://cdn.example.com/\u202egpm.a",
        "https://cdn.example.com/" + "a" * 2048,
    ],
)
def test_a_record_with_an_invalid_video_url_has_no_video(url: Any) -> None:
    task = read(with_response(video_url=url))
    assert (task.state, task.video) == (TaskState.PROCESSING, None), "it may still be written"
    thumbnail = read(with_response(thumbnail_url=url)).video
    assert thumbnail is not None
    assert thumbnail.thumbnail_url is None


@pytest.mark.parametrize("size", [None, "1360", 13.5, True, 0, -5, [], {}, 10**20])
def test_an_invalid_size_is_treated_as_absent(size: Any) -> None:
    video = read(with_response(video_width=size, video_height=size)).video
    assert video is not None
    assert (video.width, video.height) == (None, None)


@pytest.mark.parametrize("value", [None, "", 5, True, [], {}])
def test_a_video_id_that_is_not_a_string_is_treated_as_absent(value: Any) -> None:
    video = read(with_response(video_id=value)).video
    assert video is not None
    assert video.video_id is None


def test_a_lone_surrogate_does_not_invalidate_the_response() -> None:
    half = json.loads('"\\ud83d"')
    record = with_response(prompt=f"A fox {half}", video_id=half, thumbnail_url=f"https://cdn.example.com/{half}")
    task = read(record | {"request": {"prompt": half}})
    assert b"A fox" in TypeAdapter(Task).dump_json(task)
    failed = with_response(success=False, video_url=None, error={"code": "bad_request", "message": f"No {half}."})
    assert b"invalid_request" in TypeAdapter(Task).dump_json(read(failed))


@pytest.mark.parametrize("value", [None, "", 5, True, [], {}])
def test_a_record_without_a_task_id_is_ignored(value: Any) -> None:
    assert task_from({"id": value, "response": {"video_url": "https://cdn.example.com/a.mp4"}}, NOW) is None
    assert task_from({"id": value, "response": {"task_id": value}}, NOW) is None
