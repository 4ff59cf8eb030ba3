"""AceDataCloud's records and bodies: every documented form, and the odd ones that must not hurt."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.adapters.acedata_wire import read_request, records_in, submit_request, task_from, tasks_in
from app.domain.errors import ErrorCode
from app.domain.generation import Command, ExtendVideo, GenerateVideo
from app.domain.task import Failure, Task, TaskState, Video
from tests.support.acedata import NOW, completed

ACCOUNT = ("_id", "api_id", "application_id", "credential_id", "user_id", "trace_id")
NEWER = ("started_at", "elapsed")


def read(record: dict[str, Any]) -> Task:
    task = task_from(record, NOW)
    assert task is not None
    return task


def with_response(**parts: Any) -> dict[str, Any]:
    record = completed("task-0")
    return record | {"response": record["response"] | parts}


def test_a_finished_record_in_the_newest_form_is_read_in_full() -> None:
    assert read(completed("task-0")) == Task(
        id="task-0",
        state=TaskState.COMPLETED,
        prompt="A fox",
        video=Video(
            url="https://cdn.example.com/luma/task-0.mp4",
            video_id="video-of-task-0",
            width=1360,
            height=752,
            thumbnail_url="https://cdn.example.com/luma/task-0.jpg",
        ),
        created_at=NOW - 200.5,
        finished_at=NOW - 45.8,
        elapsed_seconds=154.2,
    )


def test_the_older_form_takes_its_elapsed_time_from_the_other_times() -> None:
    older = {key: value for key, value in completed("task-0").items() if key not in NEWER}
    assert read(older).elapsed_seconds == pytest.approx(154.7)
    assert read(older | {"started_at": NOW - 46.8}).elapsed_seconds == pytest.approx(1.0)


def test_what_sibling_services_add_changes_nothing() -> None:
    record = with_response(trace_id="t") | {"type": "videos", "more": {"deep": []}}
    assert read(record) == read(completed("task-0"))


@pytest.mark.parametrize("key", ACCOUNT)
def test_the_accounts_own_fields_stop_at_the_adapter(key: str) -> None:
    record = completed("task-0", **{key: "an-account-secret"})
    record["response"][key] = "an-account-secret"
    assert b"an-account-secret" not in TypeAdapter(Task).dump_json(read(record))


def test_a_callback_url_echoed_by_the_backend_stops_at_the_adapter() -> None:
    record = completed("task-0", request={"prompt": "A fox", "callback_url": "https://hook.example.com/secret"})
    assert b"hook" not in TypeAdapter(Task).dump_json(read(record))


@pytest.mark.parametrize("response", [None, {}, {"prompt": None}, {"prompt": 5}, []])
def test_the_prompt_is_the_responses_or_else_the_requests(response: Any) -> None:
    assert read(with_response(prompt="Enriched fox")).prompt == "Enriched fox"
    assert read(completed("task-0", response=response)).prompt == "A fox"
    assert read(completed("task-0", response=response, request=["odd"])).prompt is None


@pytest.mark.parametrize("response", ["missing", None, {}, [], "done", 5, {"state": "pending"}])
@pytest.mark.parametrize("finished_at", ["missing", None, 0, "", "soon", True, [], -1, NOW * 1000])
def test_a_running_record_is_pending_and_has_no_end(response: Any, finished_at: Any) -> None:
    parts = {"id": "task-0", "created_at": NOW - 10, "response": response, "finished_at": finished_at}
    task = read({key: value for key, value in parts.items() if value != "missing"})
    assert task == Task("task-0", TaskState.PENDING, created_at=NOW - 10)


@pytest.mark.parametrize("value", ["1725077411.961", True, False, None, [], {}, -1, -0.5, 1e300, NOW * 1000, 10**400])
def test_a_time_that_is_no_time_is_not_known(value: Any) -> None:
    record = completed("task-0", created_at=value, started_at=value, finished_at=value, elapsed=value)
    task = read(record)
    assert (task.created_at, task.finished_at, task.elapsed_seconds) == (None, None, None)
    assert task.state is TaskState.COMPLETED, "the URL is enough"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_no_time(text: str) -> None:
    assert read(completed("task-0", created_at=json.loads(text))).created_at is None


def test_an_integer_time_is_a_time() -> None:
    assert read(completed("task-0", created_at=1_725_077_411)).created_at == 1_725_077_411.0


def test_times_in_the_wrong_order_take_no_time() -> None:
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
def test_what_is_no_link_is_no_video(url: Any) -> None:
    task = read(with_response(video_url=url))
    assert (task.state, task.video) == (TaskState.PROCESSING, None), "it may still be written"
    thumbnail = read(with_response(thumbnail_url=url)).video
    assert thumbnail is not None
    assert thumbnail.thumbnail_url is None


@pytest.mark.parametrize("size", [None, "1360", 13.5, True, 0, -5, [], {}, 10**20])
def test_a_size_that_is_no_size_is_not_known(size: Any) -> None:
    video = read(with_response(video_width=size, video_height=size)).video
    assert video is not None
    assert (video.width, video.height) == (None, None)


@pytest.mark.parametrize("value", [None, "", 5, True, [], {}])
def test_a_video_id_that_is_no_text_is_not_known(value: Any) -> None:
    video = read(with_response(video_id=value)).video
    assert video is not None
    assert video.video_id is None


def test_half_a_character_costs_that_text_and_not_the_answer() -> None:
    half = json.loads('"\\ud83d"')
    record = with_response(prompt=f"A fox {half}", video_id=half, thumbnail_url=f"https://cdn.example.com/{half}")
    task = read(record | {"request": {"prompt": half}})
    assert b"A fox" in TypeAdapter(Task).dump_json(task)
    failed = with_response(success=False, video_url=None, error={"code": "bad_request", "message": f"No {half}."})
    assert b"No" in TypeAdapter(Task).dump_json(read(failed))


@pytest.mark.parametrize("value", [None, "", 5, True, [], {}])
def test_a_record_that_names_no_task_is_none(value: Any) -> None:
    assert task_from({"id": value, "response": {"video_url": "https://cdn.example.com/a.mp4"}}, NOW) is None
    assert task_from({"id": value, "response": {"task_id": value}}, NOW) is None


def test_a_record_without_id_is_named_by_its_response() -> None:
    record = completed("task-0")
    del record["id"]
    assert read(record) == read(completed("task-0"))


FAILURE = {"code": "bad_request", "message": "size must be a multiple of 16"}


def test_a_failed_generation_says_why_in_our_words() -> None:
    failed = read(completed("task-0", response={"success": False, "error": FAILURE, "trace_id": "t"}))
    assert failed.state is TaskState.FAILED
    assert failed.video is None
    assert failed.failure is not None
    assert failed.failure.code is ErrorCode.INVALID_REQUEST
    assert failed.failure.message.endswith("AceDataCloud says: “size must be a multiple of 16”")


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ({"success": False, "error": {"code": "api_error", "message": "fetch failed"}}, ErrorCode.BACKEND_ERROR),
        ({"success": False, "error": {"code": "timeout", "message": "Timeout"}}, ErrorCode.BACKEND_TIMEOUT),
        ({"success": False, "error": "boom"}, ErrorCode.BACKEND_ERROR),
        ({"success": False}, ErrorCode.BACKEND_ERROR),
        ({"state": "failed"}, ErrorCode.BACKEND_ERROR),
        ({"success": False, "error": {"code": "forbidden", "message": "Moderators say no."}}, ErrorCode.REFUSED),
    ],
)
def test_a_failure_carries_the_code_of_its_complaint(response: dict[str, Any], code: ErrorCode) -> None:
    failed = read(completed("task-0", response=response))
    assert failed.failure is not None
    assert failed.failure.code is code
    assert "ask again" not in failed.failure.message, "a failed task never changes"


@pytest.mark.parametrize("response", [None, {}, {"success": True, "state": "completed"}, {"video_url": "soon"}])
def test_an_end_without_a_video_claims_nothing_about_money(response: Any) -> None:
    failed = read(completed("task-0", response=response, finished_at=NOW - 600))
    assert failed.failure is not None
    assert failed.failure.code is ErrorCode.BACKEND_ERROR
    assert "charged" not in failed.failure.message
    assert "history" in failed.failure.message


def test_a_failed_record_shows_no_video_even_where_it_names_one() -> None:
    task = read(with_response(success=False, error=FAILURE))
    assert (task.state, task.video) == (TaskState.FAILED, None)
    assert isinstance(task.failure, Failure)


def test_of_two_records_of_one_task_the_final_one_counts() -> None:
    running, final = {"id": "task-0"}, completed("task-0")
    for records in ([running, final], [final, running], [running, running, final, running]):
        assert tasks_in(records, NOW) == {"task-0": read(final)}


@pytest.mark.parametrize(
    ("body", "records"),
    [
        ({}, []),
        ({"id": "task-0"}, [{"id": "task-0"}]),
        ({"items": [], "count": 0}, []),
        ({"items": [{"id": "task-0"}, None, "text", 5, []], "count": 9}, [{"id": "task-0"}]),
        ({"items": None}, None),
        ({"items": {"id": "task-0"}}, None),
        ([], None),
        ([{"id": "task-0"}], None),
        ("text", None),
        (None, None),
        (5, None),
    ],
)
def test_records_are_taken_from_either_kind_of_answer(body: Any, records: list[dict[str, Any]] | None) -> None:
    assert records_in(body) == records


@pytest.mark.parametrize(
    ("task_ids", "body"),
    [
        (["a"], {"action": "retrieve", "id": "a"}),
        (["a", "b"], {"action": "retrieve_batch", "ids": ["a", "b"], "offset": 0, "limit": 2}),
        (["a"] * 50, {"action": "retrieve_batch", "ids": ["a"] * 50, "offset": 0, "limit": 50}),
    ],
)
def test_a_question_asks_for_as_many_records_as_ids(task_ids: list[str], body: dict[str, Any]) -> None:
    assert read_request(task_ids) == body


PLAIN = {"action": "generate", "aspect_ratio": "16:9", "loop": False, "enhancement": True, "async": True}


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (GenerateVideo("A fox"), PLAIN | {"prompt": "A fox"}),
        (
            GenerateVideo(
                "A fox",
                aspect_ratio="9:16",
                loop=True,
                enhancement=False,
                start_image_url="https://a/1.png",
                end_image_url="https://a/2.png",
                timeout_seconds=60.0,
                callback_url="https://a/hook",
            ),
            {
                "action": "generate",
                "prompt": "A fox",
                "aspect_ratio": "9:16",
                "loop": True,
                "enhancement": False,
                "start_image_url": "https://a/1.png",
                "end_image_url": "https://a/2.png",
                "timeout": 60.0,
                "callback_url": "https://a/hook",
                "async": True,
            },
        ),
        (
            ExtendVideo("On", video_id="v"),
            {"action": "extend", "prompt": "On", "video_id": "v", "async": True},
        ),
        (
            ExtendVideo("On", video_url="https://a/v.mp4", end_image_url="https://a/2.png"),
            {
                "action": "extend",
                "prompt": "On",
                "video_url": "https://a/v.mp4",
                "end_image_url": "https://a/2.png",
                "async": True,
            },
        ),
    ],
)
def test_a_command_is_sent_asynchronous_and_without_nulls(command: Command, body: dict[str, Any]) -> None:
    assert submit_request(command) == body
