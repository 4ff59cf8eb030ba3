"""subscriptions/listen: streams of task changes, from every replica, for the tasks of the caller's tenant only."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.mcp_server.extensions.subscriptions import MAX_TASKS
from tests.support.clock import HandClock, while_time_passes
from tests.support.process import environment, serving_process
from tests.support.redis_server import RedisServer
from tests.support.service import MODERN, Service, envelope, sandbox, serving, settings

TASKS = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
DECLARED: dict[str, Any] = {CAPABILITIES: {"extensions": {TASKS: {}}}}
NUMBER = "io.modelcontextprotocol/subscriptionId"


class EventReader:
    """A reader of the server-sent events of one subscription stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next_message(self) -> dict[str, Any]:
        """Return the next message. Raises StopAsyncIteration at the end of the stream."""
        async with asyncio.timeout(20):
            while True:
                line = await anext(self._lines)
                if line.startswith("data: "):
                    message: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    return message


def asked(notifications: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    message, headers = envelope("subscriptions/listen", {"notifications": notifications, "_meta": DECLARED}, MODERN)
    return message, {**headers, "accept": "application/json, text/event-stream"}


@asynccontextmanager
async def listening(
    url: str, http: httpx.AsyncClient, notifications: Mapping[str, Any], token: str = "token-a"
) -> AsyncIterator[EventReader]:
    message, headers = asked(notifications)
    headers["authorization"] = f"Bearer {token}"
    async with http.stream("POST", f"{url}/mcp", json=message, headers=headers, timeout=60) as response:
        assert response.status_code == 200
        yield EventReader(response)


async def start(service: Service) -> str:
    task_id: str = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
    return task_id


async def test_a_change_seen_by_one_replica_is_sent_to_subscribers_of_the_other(
    clock: HandClock, redis_server: RedisServer
) -> None:
    backend, values = sandbox(clock, seconds=30), settings(redis_url=redis_server.url)
    async with serving(values, backend, clock) as one, serving(values, backend, clock) as other:
        task_id = await start(one)
        uri = f"luma://tasks/{task_id}"
        waiting = asyncio.create_task(one.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50}))
        async with listening(other.url, other.http, {"resourceSubscriptions": [uri]}) as events:
            acknowledged = await events.next_message()
            updated = await while_time_passes(clock, events.next_message())
        task = await while_time_passes(clock, waiting)
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"]["notifications"] == {"resourceSubscriptions": [uri]}
    assert updated["method"] == "notifications/resources/updated"
    assert updated["params"]["uri"] == uri
    assert updated["params"]["_meta"][NUMBER] == acknowledged["params"]["_meta"][NUMBER] == 1
    assert task["state"] == "completed"


async def test_a_subscription_to_a_task_handle_gets_the_same_result_as_tasks_get(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock, seconds=30), clock) as service:
        call = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}, "_meta": DECLARED}
        handle = (await service.request("tools/call", call))["result"]["taskId"]
        notifications = {"taskIds": [handle, "v1.of-somebody-else"]}
        async with listening(service.url, service.http, notifications) as events:
            acknowledged = await events.next_message()
            told = await while_time_passes(clock, events.next_message())
        got = (await service.request("tasks/get", {"taskId": handle, "_meta": DECLARED}))["result"]
    assert acknowledged["params"]["notifications"] == {"taskIds": [handle]}
    assert told["method"] == "notifications/tasks"
    assert told["params"].pop("_meta") == {NUMBER: 1}
    assert told["params"] == {key: value for key, value in got.items() if key not in ("resultType", "_meta")}
    assert told["params"]["status"] == "completed"


async def test_both_subscription_filters_can_be_combined(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock, seconds=30), clock) as service:
        call = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}, "_meta": DECLARED}
        handle = (await service.request("tools/call", call))["result"]["taskId"]
        uri = f"luma://tasks/{await start(service)}"
        notifications = {"taskIds": [handle], "resourceSubscriptions": [uri]}
        async with listening(service.url, service.http, {**notifications, "toolsListChanged": True}) as events:
            acknowledged = await events.next_message()
            told = [await while_time_passes(clock, events.next_message()) for _ in range(2)]
    assert acknowledged["params"]["notifications"] == notifications
    assert {message["method"] for message in told} == {"notifications/tasks", "notifications/resources/updated"}


async def test_a_subscription_leaves_out_handles_of_another_tenant(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        call = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}, "_meta": DECLARED}
        handle = (await service.request("tools/call", call))["result"]["taskId"]
        async with listening(service.url, service.http, {"taskIds": [handle]}, token="token-b") as events:
            acknowledged = await events.next_message()
    assert acknowledged["params"]["notifications"] == {"taskIds": []}


async def test_a_new_subscription_reports_tasks_that_have_ended_meanwhile(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock, seconds=30), clock) as service:
        uri = f"luma://tasks/{await start(service)}"
        async with listening(service.url, service.http, {"resourceSubscriptions": [uri]}) as events:
            await events.next_message()
        clock.advance(60)
        async with listening(service.url, service.http, {"resourceSubscriptions": [uri]}) as events:
            await events.next_message()
            told = await while_time_passes(clock, events.next_message())
    assert told["params"]["uri"] == uri


async def test_an_empty_subscription_is_acknowledged_and_gets_no_updates(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        notifications = {"promptsListChanged": True, "resourceSubscriptions": ["https://example.com/"]}
        async with listening(service.url, service.http, notifications) as events:
            acknowledged = await events.next_message()
    assert acknowledged["params"]["notifications"] == {}, "lists change with a release only"


async def test_task_ids_need_the_extension_to_be_declared(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        message, headers = envelope("subscriptions/listen", {"notifications": {"taskIds": ["v1.x"]}}, MODERN)
        response = await service.post(message, headers={**headers, "accept": "application/json, text/event-stream"})
    assert response.json()["error"]["code"] == -32021


async def test_a_listener_for_too_many_tasks_is_refused(clock: HandClock) -> None:
    uris = [f"luma://tasks/{number}" for number in range(MAX_TASKS + 1)]
    async with serving(settings(), sandbox(clock), clock) as service:
        message, headers = asked({"resourceSubscriptions": uris})
        response = await service.post(message, headers=headers)
    assert response.json()["error"]["code"] == -32602


async def test_a_listener_costs_the_backend_no_more_than_a_waiting_caller(clock: HandClock) -> None:
    backend = sandbox(clock, seconds=100)
    async with serving(settings(), backend, clock) as service:
        uri = f"luma://tasks/{await start(service)}"
        async with listening(service.url, service.http, {"resourceSubscriptions": [uri]}) as events:
            await events.next_message()
            told = await while_time_passes(clock, events.next_message())
    assert told["params"]["uri"] == uri
    assert backend.reads <= 15


@pytest.mark.parametrize("workers", ["1"])
async def test_sigterm_ends_a_stream_with_its_result(tmp_path: Path, workers: str) -> None:
    async with httpx.AsyncClient() as http:
        with serving_process("--sandbox", "--workers", workers, cwd=tmp_path, env=environment()) as server:
            url = await asyncio.to_thread(lambda: server.url)
            async with listening(url, http, {"resourceSubscriptions": ["luma://tasks/nobody-knows"]}) as events:
                await events.next_message()
                server.process.send_signal(signal.SIGTERM)
                last = await events.next_message()
            code = await asyncio.to_thread(server.process.wait, 30)
    assert last["result"]["_meta"][NUMBER] == 1
    assert code == 0
