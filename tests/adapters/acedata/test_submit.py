"""Submissions: each is sent once, and its error shows whether a generation may have been started."""

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.adapters.acedata.client import UNREACHABLE
from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.domain.errors import (
    BackendError,
    InvalidRequest,
    LumaError,
    NoCredit,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unauthorized,
)
from app.domain.generation import Command, ExtendVideo, GenerateVideo
from app.services.limits.backend_limits import BackendLimits
from tests.support.acedata import (
    CREDENTIAL,
    NOW,
    QUICK,
    Answer,
    Backend,
    adapter_over,
    breaking,
    completed,
    error_reply,
    hanging,
    replying,
)
from tests.support.telemetry import Notes

COMMAND = GenerateVideo("A fox")
URLS = ("start_image_url", "end_image_url", "callback_url", "video_url")


async def submit(backend: httpx.AsyncBaseTransport, command: Command = COMMAND, **timeouts: Any) -> str:
    async with adapter_over(backend, replace(QUICK, **timeouts)) as adapter:
        return await adapter.submit(CREDENTIAL, command)


async def refusal(answer: Answer, command: Command = COMMAND, **timeouts: Any) -> LumaError:
    """Submit once, and return the error."""
    backend = Backend(answer)
    with pytest.raises(LumaError) as caught:
        await submit(backend, command, **timeouts)
    assert len(backend.requests) == 1, "a submission is never sent again"
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        {"task_id": "task-0"},
        {"success": True, "task_id": "task-0"},
        {"success": True, "task_id": "task-0", "trace_id": "t", "later": {"more": 1}},
        completed("task-0")["response"],
        {"task_id": "task-0", "error": None},
    ],
    ids=["documented", "platform-wide", "extras", "the synchronous form", "null error"],
)
async def test_every_form_of_success_is_its_task_id(body: dict[str, Any]) -> None:
    backend = Backend(replying(200, body))
    assert await submit(backend) == "task-0"
    (request,) = backend.requests
    assert (request.url.path, request.headers["authorization"]) == ("/luma/videos", "Bearer token-a")
    assert backend.bodies[0]["prompt"] == "A fox"


async def test_a_submission_without_a_turn_in_time_is_refused_and_not_sent() -> None:
    backend, notes = Backend(replying(200, {"task_id": "task-0"})), Notes()
    limits = BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE)
    async with adapter_over(backend, replace(QUICK, pool=0.001), notes, limits) as adapter:
        async with AsyncExitStack() as places:
            for _ in range(GENERATIONS_AT_ONCE):
                await places.enter_async_context(limits.purchases.place(CREDENTIAL.id))
            with pytest.raises(RateLimited, match="Nothing was sent"):
                await adapter.submit(CREDENTIAL, COMMAND)
        assert (backend.requests, notes.withheld) == ([], ["queue_slow"])
        assert limits.purchases.is_idle
        assert await adapter.submit(CREDENTIAL, COMMAND) == "task-0"


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError])
async def test_a_failed_connection_is_reported_as_nothing_sent(kind: type[Exception]) -> None:
    error = await refusal(breaking(kind))
    assert (type(error), str(error)) == (BackendError, UNREACHABLE)


@pytest.mark.parametrize(
    "answer",
    [
        breaking(httpx.ReadTimeout),
        breaking(httpx.WriteTimeout),
        breaking(httpx.ReadError),
        breaking(httpx.WriteError),
        breaking(httpx.RemoteProtocolError),
        replying(500, "{}"),
        error_reply(500, "api_error"),
        replying(500, {"error": "boom"}),
        replying(502, "<html>Bad adapter</html>"),
        replying(503, ""),
        replying(504, "<html>Gateway timeout</html>"),
        error_reply(504, "timeout"),
        replying(200, "<html>Hello</html>"),
        replying(200, ""),
        replying(204, ""),
        replying(200, "{"),
        replying(200, {}),
        replying(200, []),
        replying(200, 5),
        replying(200, {"success": True}),
        replying(200, {"success": True, "task_id": None}),
        replying(200, {"success": True, "task_id": ""}),
        replying(200, {"success": True, "task_id": 5}),
        replying(200, {"success": False}),
        replying(200, {"success": False, "task_id": "task-0"}),
        replying(200, {"success": False, "task_id": "task-0", "error": "later"}),
        replying(200, b" " * 5_000_000),
        replying(201, {"task_id": "task\n0"}),
        replying(200, {"task_id": "task 0"}),
        replying(200, {"task_id": " task-0"}),
        replying(200, {"task_id": "task\u202e0"}),
        replying(200, {"task_id": "task\U000e00410"}),
        replying(200, {"task_id": "task\ud8000"}),
        replying(200, {"task_id": "x" * 129}),
        replying(200, {"success": False, "error": {"code": "something_new", "message": "No."}}),
        replying(200, {"success": False, "task_id": "task-0", "error": {"code": "used_up", "message": "No."}}),
        error_reply(503, "busy"),
        error_reply(403, "busy"),
        error_reply(429, "busy"),
        error_reply(200, "busy"),
        error_reply(200, "rate_limited"),
        error_reply(403, "too_many_requests"),
        replying(400, {"error": {"code": "bad_request", "message": "No."}, "tasks": [{"task_id": "task-0"}]}),
        error_reply(404, "no_api"),
        error_reply(404, "bad_request"),
        error_reply(408, "timeout"),
        error_reply(409, "duplication"),
        error_reply(423, "forbidden"),
        error_reply(400, "timeout"),
        error_reply(400, "api_error"),
        error_reply(400, "something_new"),
        error_reply(307, "bad_request"),
        replying(301, "", {"location": "https://elsewhere.example"}),
        replying(400, "<html>Bad request</html>"),
        replying(401, "<html>Unauthorized</html>"),
        replying(403, "<html>Forbidden</html>"),
        replying(413, "<html>Too large</html>"),
        replying(429, "slow down"),
    ],
)
async def test_an_ambiguous_response_is_an_unknown_outcome(answer: Answer) -> None:
    assert type(await refusal(answer)) is OutcomeUnknown


async def test_a_timeout_is_an_unknown_outcome() -> None:
    assert type(await refusal(hanging, submit=0.01, connect=0.01)) is OutcomeUnknown


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error_reply(400, "bad_request"), InvalidRequest),
        (error_reply(401, "invalid_token"), Unauthorized),
        (error_reply(403, "used_up"), NoCredit),
        (error_reply(403, "forbidden"), Refused),
        (error_reply(429, "too_many_requests"), RateLimited),
        (error_reply(402, "used_up"), NoCredit),
        (error_reply(422, "bad_request"), InvalidRequest),
        (error_reply(413, "content_too_large"), InvalidRequest),
        (error_reply(403, "not_applied"), Unauthorized),
        (error_reply(400, "api_not_implemented"), BackendError),
        (replying(429, {"success": False, "error": {"code": "rate_limited", "message": "5"}}), RateLimited),
        (replying(200, {"success": False, "error": {"code": "used_up", "message": "No."}}), NoCredit),
    ],
)
async def test_a_documented_refusal_is_reported_as_not_started(answer: Answer, kind: type[LumaError]) -> None:
    error = await refusal(answer)
    assert type(error) is kind
    assert "ask again" not in str(error), "a submission is not a question"


async def test_a_rate_limit_error_has_the_retry_after() -> None:
    error = await refusal(error_reply(429, "rate_limited", headers={"retry-after": "12"}))
    assert error.retry_after_seconds == 12


@pytest.mark.parametrize(
    ("command", "private"),
    [
        (GenerateVideo("the <secret> plan"), "the <secret> plan"),
        (GenerateVideo("x", start_image_url="https://a.example.com/secret.jpg"), "secret"),
        (GenerateVideo("x", end_image_url="https://a.example.com/secret.jpg"), "secret"),
        (GenerateVideo("x", callback_url="https://a.example.com/?key=secret"), "secret"),
        (ExtendVideo("x", video_url="https://a.example.com/secret.mp4"), "secret"),
    ],
    ids=["prompt", "first frame", "last frame", "callback", "video"],
)
async def test_no_error_repeats_what_the_caller_sent(command: Command, private: str) -> None:
    sent = [command.prompt, *(value for name in URLS if (value := getattr(command, name, None)))]
    message = f"Bad: {' '.join(sent)} for token-a"
    error = await refusal(error_reply(400, "bad_request", message), command)
    assert "AceDataCloud says" not in str(error), "the message repeats the token, and is quoted whole or not at all"
    assert private not in str(error)
    assert "secret" not in str(error)
    assert "token-a" not in str(error)


@pytest.mark.parametrize(
    "answer", [breaking(httpx.ReadError), breaking(httpx.ReadTimeout), error_reply(500, "api_error")]
)
async def test_a_lost_submission_is_not_reported_as_safe_to_repeat(answer: Answer) -> None:
    async with adapter_over(Backend(answer)) as adapter:
        with pytest.raises(LumaError, match="with the same key") as caught:
            await adapter.find_by_callback(CREDENTIAL, COMMAND, ["task-0"], lambda _url: True)
    assert "Nothing is lost" not in str(caught.value)
