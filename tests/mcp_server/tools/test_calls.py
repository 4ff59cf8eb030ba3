"""Errors of tool calls name the argument, the side at fault, and the next step."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.adapters.sandbox.behaviour import Behaviour
from app.domain.errors import InvalidRequest
from app.mcp_server.tools.arguments import MAX_WAIT_SECONDS, batch_arguments
from app.mcp_server.tools.validation import read_arguments
from tests.support.clock import HandClock, while_time_passes
from tests.support.service import SECONDS, Service, sandbox, serving, settings, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGE = "https://images.example.com/a.png"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(batch_limit=3), sandbox(clock), clock) as running:
        yield running


BAD_CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("luma_get_tasks_batch", {}, "`task_ids` is required."),
    ("luma_get_tasks_batch", {"task_ids": []}, "`task_ids` is empty: give at least one id."),
    ("luma_get_tasks_batch", {"task_ids": list("abcd")}, "`task_ids` holds more than 3 ids: split it"),
    ("luma_get_tasks_batch", {"task_ids": ["a", 5]}, "`task_ids[1]` must be a string."),
    ("luma_get_tasks_batch", {"task_ids": ["a", " "]}, "`task_ids[1]` is not an id"),
    ("luma_get_tasks_batch", {"task_ids": ["x" * 129]}, "`task_ids[0]` is not an id"),
    ("luma_get_tasks_batch", {"task_ids": ["a\nb"]}, "`task_ids[0]` is not an id"),
    ("luma_get_task", {"task_id": None}, "`task_id` must be a string."),
    ("luma_generate_video", {}, "`prompt` is required."),
    ("luma_generate_video", {"prompt": "  "}, "`prompt` must be 1 to 5000 characters of text."),
    ("luma_generate_video", {"prompt": "x" * 5001}, "`prompt` must be 1 to 5000 characters of text."),
    ("luma_generate_video", {"prompt": "x", "aspect_ratio": "5:4"}, "`aspect_ratio` must be one of '16:9', '9:16'"),
    ("luma_get_tasks_batch", {"task_ids": 5}, '`task_ids` must be a list of strings, such as ["id1", "id2"].'),
    ("luma_get_tasks_batch", {"task_ids": "[a"}, "`task_ids` must be a list of strings"),
    ("luma_get_tasks_batch", {"task_ids": ["a"], "detail": "all"}, "`detail` must be one of 'brief' or 'full'"),
    ("luma_get_task", {"taskid": "a"}, "`task_id` is required. The call has `taskid` in its place."),
    ("luma_get_task", {"task_id": "a", "wait_seconds": -1}, "`wait_seconds` must be a number from 0 to 50."),
    ("luma_get_task", {"task_id": "a", "wait_seconds": "soon"}, "`wait_seconds` must be a number."),
    ("luma_generate_video", {"prompt": "x", "loop": "maybe"}, "`loop` must be true or false."),
    ("luma_generate_video", {"prompt": "x", "loop": 1}, "`loop` must be true or false."),
    ("luma_generate_video", {"prompt": "x", "timeout": "soon"}, "`timeout` must be a number."),
    ("luma_generate_video", {"prompt": "x", "timeout": 0}, "`timeout` must be a number above 0 and at most 3600."),
    ("luma_generate_video", {"prompt": "x", "timeout": 3601}, "`timeout` must be a number above 0 and at most 3600."),
    ("luma_generate_video", {"prompt": "x", "idempotency_key": "k" * 129}, "`idempotency_key` must be 1 to 128 char"),
    (
        "luma_generate_video",
        {"prompt": "x", "aspectRatio": "1:1"},
        "`aspectRatio` is not an argument of this tool; it takes: idempotency_key, retry_unknown, prompt, ",
    ),
    ("luma_generate_video", {"prompt": "x", "a b\n": 5}, "An argument is not an argument of this tool"),
    ("luma_generate_video", {"prompt": "x", "timeout": -1}, "`timeout` must be a number above 0 and at most 3600."),
    ("luma_generate_video", {"prompt": "x", "callback_url": "http://10.0.0.1/"}, "`callback_url` names a host that is"),
    ("luma_generate_video_from_image", {"prompt": "x"}, "Give `start_image_url`, `end_image_url` or both"),
    ("luma_generate_video_from_image", {"prompt": "x", "start_image_url": "ftp://a.b"}, "`start_image_url` does not"),
    ("luma_extend_video", {"prompt": "x"}, "`video_id` is required."),
    ("luma_extend_video", {"prompt": "x", "video_id": ""}, "`video_id` is not an id"),
    ("luma_extend_video_from_url", {"prompt": "x", "video_url": ""}, "`video_url` does not start with"),
]


@pytest.mark.parametrize(("tool", "arguments", "sentence"), BAD_CALLS)
async def test_an_invalid_argument_is_named_in_a_sentence(
    service: Service, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    result = await service.call(tool, arguments)
    error = result["structuredContent"]["result"]["error"]
    assert result["isError"] is True
    assert error["code"] == "invalid_request"
    assert error["message"].startswith(sentence)
    assert text_of(result).startswith("invalid_request: ")


async def test_null_counts_as_left_out_if_there_is_a_default(service: Service) -> None:
    arguments = {"prompt": "x", "aspect_ratio": None, "loop": None, "timeout": None, "callback_url": None}
    assert (await service.ask("luma_generate_video", arguments))["state"] == "pending"


async def test_an_id_pasted_with_blanks_around_it_is_that_id(service: Service) -> None:
    started = await service.ask("luma_generate_video", {"prompt": "x"})
    batch = await service.ask("luma_get_tasks_batch", {"task_ids": [f" {started['task_id']}\n", started["task_id"]]})
    assert [task["task_id"] for task in batch["tasks"]] == [started["task_id"]]


@pytest.mark.parametrize(
    "others",
    [
        {"wait_seconds": "0"},
        {"wait_seconds": 0.0, "detail": "full"},
        {"verbose": True, "taskids": ["x"]},
        {"wait_for_previous": False},
    ],
    ids=["number as text", "number with a point", "unknown arguments", "an argument of Gemini CLI"],
)
@pytest.mark.parametrize("form", ["{}", '["{}"]', "{},"])
async def test_a_free_tool_understands_clear_values_over_http(
    service: Service, form: str, others: dict[str, Any]
) -> None:
    task_id = (await service.ask("luma_generate_video", {"prompt": "x", "loop": "true", "timeout": "60"}))["task_id"]
    batch = await service.ask("luma_get_tasks_batch", {"task_ids": form.replace("{}", task_id), **others})
    assert [task["task_id"] for task in batch["tasks"]] == [task_id]


@pytest.mark.parametrize("given", [60, "60", 1e9])
async def test_a_wait_that_is_too_long_is_cut_over_http(given: Any) -> None:
    clock = HandClock()
    async with serving(settings(), sandbox(clock, seconds=1000), clock) as service:
        started = await service.ask("luma_generate_video", {"prompt": "x"})
        asked_at = clock()
        waiting = service.ask("luma_get_task", {"task_id": started["task_id"], "wait_seconds": given})
        task = await while_time_passes(clock, waiting)
    assert task["state"] == "pending"
    assert MAX_WAIT_SECONDS <= clock() - asked_at < 60


@pytest.mark.parametrize("given", ["true", "True", True])
async def test_a_boolean_in_a_string_buys_what_it_says(given: Any) -> None:
    clock = HandClock()
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        keyed = {"prompt": "x", "idempotency_key": "k"}
        first = await service.ask("luma_generate_video", {**keyed, "loop": True})
        again = await service.ask("luma_generate_video", {**keyed, "loop": given})
        error = await service.fail("luma_generate_video", {**keyed, "loop": "false"})
    assert first["task_id"] == again["task_id"]
    assert error["code"] == "invalid_request"
    assert backend.submissions("token-a") == 1


@pytest.mark.parametrize(
    ("word", "code", "sentence"),
    [
        ("[broke]", "no_credit", "no credit left"),
        ("[refuse]", "refused", "Moderation refused"),
    ],
)
async def test_a_refused_submission_is_an_error_with_its_code(
    service: Service, word: str, code: str, sentence: str
) -> None:
    error = await service.fail("luma_generate_video", {"prompt": f"A fox {word}"})
    assert error["code"] == code
    assert sentence in error["message"]


async def test_an_id_that_the_backend_does_not_know_is_not_found(service: Service) -> None:
    assert (await service.fail("luma_get_task", {"task_id": "nobody-knows"}))["code"] == "not_found"


async def test_too_many_at_once_is_rate_limited_and_says_when_to_try_again() -> None:
    clock = HandClock()
    async with serving(settings(), sandbox(clock, Behaviour(), seconds=1000), clock) as limited:
        for number in range(5):
            await limited.ask("luma_generate_video", {"prompt": f"Fox {number}"})
        error = await while_time_passes(clock, limited.fail("luma_generate_video", {"prompt": "One too many"}))
    assert error["code"] == "rate_limited"
    assert error["retry_after_seconds"] > 0


async def test_ask_again_in_seconds_depends_on_the_state() -> None:
    clock = HandClock()
    async with serving(settings(), sandbox(clock), clock) as service:
        started = await service.call("luma_generate_video", {"prompt": "x"})
        assert "Do not submit it again" in text_of(started)
        task_id = started["structuredContent"]["result"]["task_id"]
        running = await service.call("luma_get_task", {"task_id": task_id})
        assert "Ask again in" in text_of(running)
        clock.advance(SECONDS)
        done = await service.call("luma_get_task", {"task_id": task_id})
    assert "again" not in text_of(done)
    assert done["structuredContent"]["result"]["ask_again_in_seconds"] is None


async def test_a_task_that_runs_for_over_ten_minutes_is_called_stuck() -> None:
    clock = HandClock()
    async with serving(settings(), sandbox(clock, seconds=3600), clock) as service:
        started = await service.ask("luma_generate_video", {"prompt": "x"})
        clock.advance(601)
        result = await service.call("luma_get_tasks_batch", {"task_ids": [started["task_id"]]})
    assert "likely stuck" in text_of(result)


async def test_images_and_extensions_reach_the_backend_as_they_were_given() -> None:
    clock = HandClock()
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        arguments = {"prompt": "A fox", "start_image_url": IMAGE, "aspect_ratio": "1:1", "loop": True, "timeout": 60}
        started = await service.ask("luma_generate_video_from_image", arguments)
        clock.advance(SECONDS)
        task = await service.ask("luma_get_task", {"task_id": started["task_id"]})
        more = {"prompt": "It jumps", "video_id": task["video_id"], "end_image_url": IMAGE}
        extended = await service.ask("luma_extend_video", more)
    requests = [backend.read("token-a", {"id": found["task_id"]})["request"] for found in (started, extended)]
    assert requests[0] == {
        "action": "generate",
        "prompt": "A fox",
        "aspect_ratio": "1:1",
        "loop": True,
        "enhancement": True,
        "start_image_url": IMAGE,
        "timeout": 60.0,
        "async": True,
    }
    assert requests[1] == {
        "action": "extend",
        "prompt": "It jumps",
        "video_id": task["video_id"],
        "end_image_url": IMAGE,
        "async": True,
    }


async def test_an_argument_name_that_is_not_valid_text_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="`task_ids` is required"):
        read_arguments(batch_arguments(10), {"\ud800": 1})
