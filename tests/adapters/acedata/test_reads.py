"""Reads from AceDataCloud with errors of the network or the backend: retries, deadlines and results."""

import asyncio
import gc
import logging
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from app.adapters.acedata.body import MAX_RESPONSE_BYTES
from app.adapters.acedata.client import AceDataClient, CallCounter
from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.adapters.acedata.pool import BackendHttp
from app.adapters.acedata.sender import retry_after_seconds
from app.domain.errors import (
    BackendError,
    BackendTimeout,
    InvalidRequest,
    LumaError,
    NoCredit,
    RateLimited,
    Unauthorized,
)
from app.domain.generation import GenerateVideo
from app.domain.task import LookupResult, Task
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
    finding_every_task,
    hanging,
    replying,
)
from tests.support.telemetry import Notes

NEVER = replace(QUICK, first_retry_delay=3600.0, longest_retry_delay=3600.0)
"""Retry delays of an hour without Retry-After, so that a short wait must come from a Retry-After."""


async def read_task(backend: httpx.AsyncBaseTransport, **timeouts: Any) -> LookupResult:
    async with adapter_over(backend, replace(QUICK, **timeouts)) as adapter:
        return (await adapter.find_tasks(CREDENTIAL, ["task-0"])).answers["task-0"]


async def error_of_read(backend: httpx.AsyncBaseTransport, **timeouts: Any) -> LumaError:
    answer = await read_task(backend, **timeouts)
    assert isinstance(answer, LumaError)
    return answer


PASSING = [
    (replying(429, "{}"), RateLimited),
    (error_reply(429, "rate_limited"), RateLimited),
    (error_reply(500, "api_error"), BackendError),
    (error_reply(504, "timeout"), BackendTimeout),
    (replying(502, "<html><h1>502 Bad Gateway</h1></html>"), BackendError),
    (replying(503, ""), BackendError),
    (replying(200, "<html>Be right back</html>"), BackendError),
    (replying(200, b"\xff\xfe\x00garbage"), BackendError),
    (replying(200, '{"items": ['), BackendError),
    (replying(200, "[" * 200_000), BackendError),
    (breaking(httpx.ConnectError), BackendError),
    (breaking(httpx.ReadError), BackendError),
    (breaking(httpx.RemoteProtocolError), BackendError),
    (breaking(httpx.ReadTimeout), BackendTimeout),
    (breaking(httpx.PoolTimeout), BackendTimeout),
]
FINAL = [
    (error_reply(400, "bad_request"), InvalidRequest),
    (error_reply(401, "invalid_token"), Unauthorized),
    (error_reply(403, "used_up"), NoCredit),
]


@pytest.mark.parametrize(("answer", "kind"), PASSING)
async def test_a_transient_error_is_retried_twice_and_then_reported(answer: Any, kind: type[LumaError]) -> None:
    backend = Backend(answer)
    assert type(await read_task(backend)) is kind
    assert len(backend.requests) == 3


@pytest.mark.parametrize(("answer", "kind"), PASSING)
async def test_a_read_succeeds_if_a_retry_succeeds(answer: Any, kind: type[LumaError]) -> None:
    backend = Backend(answer, answer, finding_every_task)
    async with adapter_over(backend) as adapter:
        result = await adapter.find_tasks(CREDENTIAL, ["task-0"])
    assert isinstance(result.answers["task-0"], Task)
    assert result.calls == 3


@pytest.mark.parametrize(("answer", "kind"), FINAL)
async def test_a_permanent_error_is_reported_without_a_retry(answer: Any, kind: type[LumaError]) -> None:
    backend = Backend(answer)
    assert type(await read_task(backend)) is kind
    assert len(backend.requests) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"success": False, "error": {"code": "api_error", "message": "fetch failed"}}, BackendError),
        ({"error": {"code": "token_expired", "message": "token expired."}, "trace_id": "t"}, Unauthorized),
        ({"error": "boom"}, BackendError),
        ({"success": False}, BackendError),
    ],
)
async def test_an_error_with_status_200_is_an_error(body: dict[str, Any], kind: type[LumaError]) -> None:
    assert type(await read_task(Backend(replying(200, body)))) is kind


async def test_the_record_of_a_failed_task_is_not_an_error() -> None:
    record = completed("task-0", response={"success": False, "error": {"code": "api_error", "message": "No."}})
    assert isinstance(await read_task(Backend(replying(200, record))), Task)
    assert isinstance(await read_task(Backend(replying(200, record | {"error": {"code": "api_error"}}))), Task)


@pytest.mark.parametrize(
    "header", ["0", format_datetime(datetime.now(UTC) - timedelta(minutes=5), usegmt=True)], ids=["seconds", "date"]
)
async def test_a_retry_waits_for_the_retry_after_time(header: str) -> None:
    backend = Backend(error_reply(429, "rate_limited", headers={"retry-after": header}), finding_every_task)
    async with adapter_over(backend, NEVER) as adapter:
        result = await adapter.find_tasks(CREDENTIAL, ["task-0"])
    assert isinstance(result.answers["task-0"], Task)


@pytest.mark.parametrize(
    ("header", "at_least", "at_most"),
    [
        ("30", 30, 30),
        ("999999", 3600, 3600),
        (format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True), 300, 600),
    ],
    ids=["seconds", "too many seconds", "date"],
)
async def test_a_read_is_not_retried_if_retry_after_is_too_long(header: str, at_least: float, at_most: float) -> None:
    backend = Backend(error_reply(429, "rate_limited", headers={"retry-after": header}))
    error = await error_of_read(backend)
    assert len(backend.requests) == 1
    assert error.retry_after_seconds is not None
    assert at_least <= error.retry_after_seconds <= at_most


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e9", None),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("9" * 500, 3600.0),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
    ],
)
def test_retry_after_is_parsed_as_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


async def test_a_permanent_error_has_no_retry_after() -> None:
    error = await error_of_read(Backend(error_reply(401, "invalid_token", headers={"retry-after": "5"})))
    assert error.retry_after_seconds is None


async def test_a_read_without_a_response_ends_at_the_deadline() -> None:
    assert type(await read_task(Backend(hanging), read_deadline=0.01)) is BackendTimeout


async def test_the_deadline_covers_all_attempts_together() -> None:
    backend = Backend(error_reply(500, "api_error"), hanging)
    assert type(await read_task(backend, read_deadline=0.05)) is BackendTimeout
    assert len(backend.requests) == 2


async def test_a_response_of_ten_megabytes_is_an_error() -> None:
    body = b'{"items": [], "filler": "' + b"x" * 10_000_000 + b'"}'
    assert type(await read_task(Backend(replying(200, body)), retries=0)) is BackendError


async def test_the_type_of_a_network_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="app"):
        await read_task(Backend(breaking(httpx.ConnectTimeout)), retries=0)
    said = [
        vars(record)
        for record in caplog.records
        if record.message == "The call to AceDataCloud failed before a complete response"
    ]
    assert [(one["path"], one["fault"]) for one in said] == [("/luma/tasks", "ConnectTimeout")]


async def test_all_calls_of_one_batch_read_share_its_deadline() -> None:
    backend, call_counter = (
        Backend(error_reply(500, "api_error"), finding_every_task, finding_every_task, hanging),
        CallCounter(),
    )
    async with BackendHttp("http://backend", user_agent="tests", connections=1, transport=backend) as http:
        client = AceDataClient(http, Notes(), QUICK, BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE))

        async def ask_once() -> Any:
            return await client.read(
                "/luma/tasks", CREDENTIAL, {"action": "retrieve", "id": "task-0"}, call_counter, lambda body: body
            )

        await ask_once()
        first = call_counter.deadline
        assert first is not None
        await ask_once()
        assert call_counter.deadline == first
        call_counter.deadline = asyncio.get_running_loop().time()
        with pytest.raises(BackendTimeout):
            await ask_once()
    assert len(backend.requests) <= 4


PART = b" " * 65_536


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield PART


async def cut_off() -> AsyncIterator[bytes]:
    for _ in range(60):
        yield PART
    raise httpx.ReadError("reset")


def streaming(status: int, body: Callable[[], AsyncIterator[bytes]]) -> Answer:
    async def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body())

    return answer


@pytest.mark.parametrize("status", [200, 400, 502])
async def test_an_endless_body_is_read_up_to_the_size_limit(status: int) -> None:
    sent = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal sent
        async for part in endless():
            sent += len(part)
            yield part
            await asyncio.sleep(0)

    assert type(await read_task(Backend(streaming(status, counted)), retries=0)) is BackendError
    assert sent <= MAX_RESPONSE_BYTES + len(PART)


async def stuck() -> AsyncIterator[bytes]:
    for _ in range(60):
        yield PART
    await asyncio.Event().wait()


MUCH = b"[" + b'{"a": 1},' * 400_000 + b"{}]"
UNUSABLE = {
    "endless": streaming(200, endless),
    "cut off": streaming(200, cut_off),
    "stuck": streaming(200, stuck),
    "no JSON": replying(200, b"<html>" + MUCH),
    "a complaint that is none": replying(400, b"<html>" + MUCH),
    "a large complaint": replying(429, MUCH),
}
NO_RECEIPT = {**UNUSABLE, "a list": replying(200, MUCH)}
HASTY = replace(QUICK, read_deadline=0.5, submit=0.5)


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
async def test_the_error_of_a_read_does_not_keep_the_response_alive(answer: Answer) -> None:
    """Errors are kept for retries, by callers that share the read, and in cycles until garbage collection."""
    await read_task(Backend(error_reply(500, "api_error")))  # loads what the first retry loads
    async with adapter_over(Backend(answer), HASTY) as adapter:
        with traced_without_collector() as traced:
            lookup = await adapter.find_tasks(CREDENTIAL, ["task-0"])
            kept = traced()
    assert isinstance(lookup.answers["task-0"], LumaError)
    assert kept < MAX_RESPONSE_BYTES / 10


@pytest.mark.parametrize("answer", NO_RECEIPT.values(), ids=NO_RECEIPT)
async def test_the_error_of_a_submission_does_not_keep_the_response_alive(answer: Answer) -> None:
    async with adapter_over(Backend(answer), HASTY) as adapter:
        with traced_without_collector() as traced:
            with pytest.raises(LumaError) as caught:
                await adapter.submit(CREDENTIAL, GenerateVideo("A fox"))
            kept = traced()
    assert caught.value.code
    assert kept < MAX_RESPONSE_BYTES / 10


@contextmanager
def traced_without_collector() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the growth of memory in bytes, without garbage collection of cycles."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (finding_every_task, "ok"),
        (error_reply(401, "invalid_token"), "unauthorized"),
        (replying(502, "<html>"), "backend_error"),
        (breaking(httpx.ReadError), "backend_error"),
        (breaking(httpx.ReadTimeout), "backend_timeout"),
    ],
)
async def test_every_call_is_counted_under_ok_or_an_error_code(answer: Any, outcome: str) -> None:
    notes = Notes()
    async with adapter_over(Backend(answer), replace(QUICK, retries=0), notes) as adapter:
        await adapter.find_tasks(CREDENTIAL, ["task-0"])
    assert notes.backend_calls == [("/luma/tasks", outcome)]
