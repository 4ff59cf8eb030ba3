"""A fake AceDataCloud for tests of its adapter: an httpx transport with scripted answers, and sample records."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.adapters.acedata.backend import AceDataBackend
from app.adapters.acedata.client import AceDataClient, Timeouts
from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.adapters.acedata.pool import BackendHttp
from app.adapters.acedata.wire import task_from
from app.domain.access import Credential
from app.domain.task import Task
from app.services.limits.backend_limits import BackendLimits
from tests.support.telemetry import Notes

NOW = 1_790_000_000.0
CREDENTIAL = Credential("tenant-a", "token-a")
QUICK = Timeouts(
    connect=1.0, pool=1.0, read=1.0, read_deadline=5.0, submit=1.0, first_retry_delay=0.0005, longest_retry_delay=0.01
)

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]
"""Returns the response to one request, or raises a transport error."""


class Backend(httpx.AsyncBaseTransport):
    """A transport that gives `answers` in order, repeats the last one, and records every request."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The decoded JSON body of each request so far."""
        return [json.loads(request.content) for request in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return await answer(request)


@asynccontextmanager
async def adapter_over(
    backend: httpx.AsyncBaseTransport,
    timeouts: Timeouts = QUICK,
    notes: Notes | None = None,
    backend_limits: BackendLimits | None = None,
) -> AsyncIterator[AceDataBackend]:
    """Yield the AceDataCloud adapter over the transport `backend`, at the fixed time NOW."""
    async with BackendHttp("http://backend", user_agent="tests", connections=1, transport=backend) as http:
        yield AceDataBackend(
            AceDataClient(
                http, notes or Notes(), timeouts, backend_limits or BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE)
            ),
            lambda: NOW,
        )


def replying(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with `body`: str and bytes unchanged, any other value as JSON."""
    content = body if isinstance(body, str | bytes) else json.dumps(body)

    async def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=content, headers=headers)

    return answer


def error_reply(status: int, code: str, message: str = "No.", headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with AceDataCloud's error object."""
    return replying(status, {"error": {"code": code, "message": message}, "trace_id": "t"}, headers)


def breaking(kind: type[Exception]) -> Answer:
    """Return an answer that raises an exception of this type."""

    async def answer(_request: httpx.Request) -> httpx.Response:
        raise kind("broken")

    return answer


async def hanging(_request: httpx.Request) -> httpx.Response:
    """Wait until the caller's timeout cancels it."""
    await asyncio.Event().wait()
    raise AssertionError


def completed(task_id: str, **parts: Any) -> dict[str, Any]:
    """Return the record of a finished task, as the newest documentation shows it; `parts` replace top-level fields."""
    return {
        "_id": "66d297a3550a4144a5a5db42",
        "id": task_id,
        "api_id": "94fc9028",
        "application_id": "06484a45",
        "created_at": NOW - 200.5,
        "started_at": NOW - 200.0,
        "finished_at": NOW - 45.8,
        "elapsed": 154.2,
        "credential_id": "e6a879e5",
        "request": {"action": "generate", "prompt": "A fox"},
        "trace_id": "0b7c1c1a",
        "user_id": "ad7afe47",
        "response": {
            "success": True,
            "task_id": task_id,
            "video_id": f"video-of-{task_id}",
            "prompt": "A fox",
            "video_url": f"https://cdn.example.com/luma/{task_id}.mp4",
            "video_height": 752,
            "video_width": 1360,
            "state": "completed",
            "thumbnail_url": f"https://cdn.example.com/luma/{task_id}.jpg",
            "thumbnail_width": 1360,
            "thumbnail_height": 752,
        },
    } | parts


def with_response(**parts: Any) -> dict[str, Any]:
    """Return the record of a finished task; `parts` replace fields of its `response`."""
    record = completed("task-0")
    return record | {"response": record["response"] | parts}


def read(record: dict[str, Any]) -> Task:
    """Parse `record` with the adapter, at time NOW. Raises AssertionError if the record holds no task."""
    task = task_from(record, NOW)
    assert task is not None
    return task


def listing(*records: Any, count: Any = None) -> dict[str, Any]:
    """Return the answer to a batch read; `count` is the number of records by default."""
    return {"items": list(records), "count": len(records) if count is None else count}


async def finding_every_task(request: httpx.Request) -> httpx.Response:
    """Answer a single or a batch read: every id is a finished task."""
    asked = json.loads(request.content)
    if asked["action"] == "retrieve":
        return httpx.Response(200, json=completed(asked["id"]))
    return httpx.Response(200, json=listing(*map(completed, asked["ids"])))
