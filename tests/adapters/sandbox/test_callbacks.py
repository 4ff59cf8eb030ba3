"""The sandbox posts each result once to the callback URL of its request."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from app.adapters.sandbox.backend import create_sandbox, sandbox_app
from app.adapters.sandbox.behaviour import DOCUMENTED, Behaviour
from app.adapters.sandbox.engine import Sandbox

SECONDS = 120.0
HOOK = "https://example.com/hook"


@dataclass
class Clock:
    """A clock that advances when `sleep` is called."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Receiver:
    """A receiver of callbacks, which raises `error` the first `failures` times."""

    failures: int = 0
    error: Exception = field(default_factory=lambda: httpx.ConnectError("down"))
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def __call__(self, url: str, body: dict[str, Any]) -> None:
        self.posts.append((url, body))
        if len(self.posts) <= self.failures:
            raise self.error


def sandbox_with(receiver: Receiver | None, behaviour: Behaviour = DOCUMENTED) -> Sandbox:
    clock = Clock()
    return Sandbox(seconds=SECONDS, media_url="", clock=clock, sleep=clock.sleep, behaviour=behaviour, deliver=receiver)


async def submit(app: Any, **body: Any) -> str:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sandbox", headers={"authorization": "Bearer a-token"}
    ) as client:
        answer = await client.post("/luma/videos", json={"prompt": "a lighthouse", "callback_url": HOOK, **body})
    return str(answer.json()["task_id"])


async def test_a_callback_posts_the_result_and_its_trace_id_once() -> None:
    receiver = Receiver()
    sandbox = sandbox_with(receiver)
    task_id = await submit(sandbox_app(sandbox))
    await sandbox.callbacks.drain()
    record = sandbox.read("a-token", {"id": task_id})
    assert receiver.posts == [(HOOK, {**record["response"], "trace_id": record["trace_id"]})]
    assert sandbox.clock() == record["finished_at"]


async def test_a_callback_reports_a_failure() -> None:
    receiver = Receiver()
    sandbox = sandbox_with(receiver)
    task_id = await submit(sandbox_app(sandbox), prompt="[fail]")
    await sandbox.callbacks.drain()
    body = receiver.posts[0][1]
    assert (body["success"], body["task_id"], body["error"]["code"]) == (False, task_id, "api_error")


async def test_a_request_without_a_callback_url_gets_no_callback() -> None:
    receiver = Receiver()
    sandbox = sandbox_with(receiver)
    await submit(sandbox_app(sandbox), callback_url=None)
    await sandbox.callbacks.drain()
    assert receiver.posts == []


async def test_a_callback_url_is_accepted_without_a_deliver_function() -> None:
    sandbox = sandbox_with(None)
    assert sandbox.read("a-token", {"id": await submit(sandbox_app(sandbox))}) != {}


@pytest.mark.parametrize("error", [httpx.ConnectError("down"), ConnectionResetError("gone")])
@pytest.mark.parametrize(("retries", "failures", "posts"), [(0, 1, 1), (2, 1, 2), (2, 9, 3)])
async def test_an_undelivered_callback_is_retried_as_often_as_configured(
    error: Exception, retries: int, failures: int, posts: int
) -> None:
    receiver = Receiver(failures, error)
    sandbox = sandbox_with(receiver, Behaviour(callback_retries=retries))
    await submit(sandbox_app(sandbox))
    await sandbox.callbacks.drain()
    assert len(receiver.posts) == posts


async def test_pending_callbacks_are_cancelled_when_the_application_closes() -> None:
    receiver = Receiver()
    app = create_sandbox(seconds=SECONDS, media_url="", clock=Clock(), deliver=receiver)
    async with app.router.lifespan_context(app):
        await submit(app)
        assert len(asyncio.all_tasks()) == 2
    assert len(asyncio.all_tasks()) == 1
    assert receiver.posts == []
