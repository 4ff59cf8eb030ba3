"""The MCP Tasks extension, tested against its specification: handles, states, errors, and separation of tenants."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.support.clock import HandClock
from tests.support.redis_server import RedisServer
from tests.support.service import MODERN, SECONDS, Service, envelope, sandbox, serving, settings

TASKS = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


async def send(  # noqa: PLR0913 - what may differ between two requests
    service: Service,
    method: str,
    params: Mapping[str, Any],
    *,
    declared: bool = True,
    token: str = "token-a",
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Send a request from a client that does or does not declare the extension."""
    extensions: dict[str, Any] = {"extensions": {TASKS: {}}} if declared else {}
    message, fitting = envelope(method, {**params, "_meta": {CAPABILITIES: extensions}}, MODERN)
    response = await service.post(message, token=token, headers={**fitting, **(headers or {})})
    answer: dict[str, Any] = response.json()
    return answer


async def handle_of(service: Service, prompt: str = "A fox", **more: Any) -> dict[str, Any]:
    params = {"name": "luma_generate_video", "arguments": {"prompt": prompt, **more}}
    created: dict[str, Any] = (await send(service, "tools/call", params))["result"]
    return created


async def task(service: Service, handle: Mapping[str, Any], **how: Any) -> dict[str, Any]:
    answer = await send(service, "tasks/get", {"taskId": handle["taskId"]}, **how)
    result: dict[str, Any] = answer["result"]
    return result


async def test_the_extension_is_advertised(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        discovered = (await send(service, "server/discover", {}))["result"]
    assert discovered["capabilities"]["extensions"] == {TASKS: {}}


async def test_a_client_that_declares_it_gets_a_handle_from_a_tool_that_spends(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service)
    created.pop("_meta")
    assert created.pop("taskId").startswith("v1.")
    assert created.pop("statusMessage")
    assert created.pop("createdAt") == created.pop("lastUpdatedAt") == "2026-09-21T14:13:20Z"
    assert created == {"resultType": "task", "status": "working", "ttlMs": 86_400_000, "pollIntervalMs": 5000}


@pytest.mark.parametrize("name", ["luma_get_task", "luma_get_tasks_batch", "luma_list_actions"])
async def test_tools_that_start_no_task_return_a_plain_result(name: str, clock: HandClock) -> None:
    arguments = {"luma_get_task": {"task_id": "x"}, "luma_get_tasks_batch": {"task_ids": ["x"]}}.get(name, {})
    async with serving(settings(), sandbox(clock), clock) as service:
        result = (await send(service, "tools/call", {"name": name, "arguments": arguments}))["result"]
    assert result["resultType"] == "complete"


async def test_a_client_that_does_not_declare_it_gets_a_result(clock: HandClock) -> None:
    params = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}}
    async with serving(settings(), sandbox(clock), clock) as service:
        result = (await send(service, "tools/call", params, declared=False))["result"]
    assert result["structuredContent"]["result"]["state"] == "pending"


async def test_a_submission_that_fails_is_an_error_of_the_tool(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        result = await handle_of(service, "A fox [broke]")
    assert result["isError"] is True
    assert result["resultType"] == "complete"


async def test_a_finished_generation_is_completed_with_the_tools_result(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service)
        assert (await task(service, created))["status"] == "working"
        clock.advance(SECONDS)
        done = await task(service, created)
    assert done["status"] == "completed"
    assert done["resultType"] == "complete"
    assert done["result"]["isError"] is False
    assert done["result"]["structuredContent"]["result"]["state"] == "completed"
    assert "completed video_id=" in done["result"]["content"][0]["text"]


async def test_a_failed_generation_is_completed_with_an_error_of_the_tool(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service, "A fox [fail]")
        clock.advance(SECONDS)
        done = await task(service, created)
    assert done["status"] == "completed"
    assert done["result"]["isError"] is True
    assert done["result"]["structuredContent"]["result"]["state"] == "failed"


async def test_last_updated_changes_only_with_the_state(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service)
        times = set()
        for _ in range(3):
            clock.advance(1)
            shown = await task(service, created)
            times.add((shown["createdAt"], shown["lastUpdatedAt"]))
        assert times == {(created["createdAt"], created["lastUpdatedAt"])}
        clock.advance(SECONDS)
        finished = {(await task(service, created))["lastUpdatedAt"] for _ in range(2)}
    assert finished == {"2026-09-21T14:13:28Z"}


async def test_any_replica_serves_a_handle_and_another_tenant_does_not_know_it(
    clock: HandClock, redis_server: RedisServer
) -> None:
    backend, values = sandbox(clock), settings(redis_url=redis_server.url)
    async with serving(values, backend, clock) as one, serving(values, backend, clock) as other:
        created = await handle_of(one)
        assert (await task(other, created))["status"] == "working"
        for method in ("tasks/get", "tasks/cancel", "tasks/update"):
            answer = await send(other, method, {"taskId": created["taskId"]}, token="token-b")
            assert answer["error"]["code"] == -32602
        assert (await task(one, created))["status"] == "working"


@pytest.mark.parametrize("garbled", ["", "x", "v1.", "v1.AAAA", "v2.AAAA"])
@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update"])
async def test_an_invalid_handle_is_invalid_params(method: str, garbled: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        answer = await send(service, method, {"taskId": garbled}, headers={"mcp-name": garbled})
    assert answer["error"]["code"] == -32602


async def test_a_handle_expires_after_a_day(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service)
        clock.advance(86_401)
        answer = await send(service, "tasks/get", {"taskId": created["taskId"]})
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update"])
async def test_a_request_without_the_extension_or_mcp_name_header_is_refused(method: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        handle = {"taskId": (await handle_of(service))["taskId"]}
        undeclared = await send(service, method, handle, declared=False)
        other_name = await send(service, method, handle, headers={"mcp-name": "another"})
        legacy = await service.request(method, handle, era="2025-11-25")
    assert undeclared["error"]["code"] == -32021
    assert undeclared["error"]["data"]["requiredCapabilities"]["extensions"] == {TASKS: {}}
    assert other_name["error"]["code"] == -32020
    assert legacy["error"]["code"] == -32601


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_methods_of_the_older_draft_are_gone(method: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        assert (await send(service, method, {}))["error"]["code"] == -32601


async def test_a_cancelled_task_stays_cancelled_and_says_what_that_means(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service)
        for _ in range(2):
            assert "error" not in await send(service, "tasks/cancel", {"taskId": created["taskId"]})
            clock.advance(SECONDS)
        cancelled = await task(service, created)
        luma = await service.call("luma_get_tasks_batch", {"task_ids": await known(service)})
    assert cancelled["status"] == "cancelled"
    assert "may still finish and be billed" in cancelled["statusMessage"]
    assert cancelled["lastUpdatedAt"] == created["createdAt"]
    assert luma["structuredContent"]["result"]["counts"]["completed"] == 1, "the tool tells the video's true state"


async def known(service: Service) -> list[str]:
    params = {
        "ref": {"type": "ref/resource", "uri": "luma://tasks/{task_id}"},
        "argument": {"name": "task_id", "value": ""},
    }
    values: list[str] = (await service.request("completion/complete", params))["result"]["completion"]["values"]
    return values


async def test_cancelling_a_finished_task_changes_nothing(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service)
        clock.advance(SECONDS)
        assert "error" not in await send(service, "tasks/cancel", {"taskId": created["taskId"]})
        assert (await task(service, created))["status"] == "completed"


async def test_an_update_is_acknowledged_and_changes_nothing(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service)
        update = {"taskId": created["taskId"], "inputResponses": {"unasked": {"action": "accept"}}}
        assert "error" not in await send(service, "tasks/update", update)
        assert (await task(service, created))["status"] == "working"


async def test_a_generation_that_the_backend_forgot_is_failed(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        created = await handle_of(service)
    clock.advance(61)
    async with serving(settings(), sandbox(clock), clock) as elsewhere:
        lost = await task(elsewhere, created)
        assert "error" not in await send(elsewhere, "tasks/cancel", {"taskId": created["taskId"]})
        assert await task(elsewhere, created) == lost, "a final status does not change"
    assert lost["status"] == "failed"
    assert lost["error"]["code"] == -32603


async def test_a_task_that_cannot_be_read_is_not_cancelled(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        created = await handle_of(service)
    clock.advance(SECONDS)
    async with serving(settings(), httpx.MockTransport(lambda _request: httpx.Response(503)), clock) as elsewhere:
        answer = await send(elsewhere, "tasks/cancel", {"taskId": created["taskId"]})
        assert answer["error"]["code"] == -32603
        assert (await task(elsewhere, created))["status"] == "working", "it may be finished, and is not cancelled"


async def test_a_repeated_call_with_a_key_gets_a_handle_of_the_same_task(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        first = await handle_of(service, idempotency_key="k")
        clock.advance(2)
        again = await handle_of(service, idempotency_key="k")
    assert again["createdAt"] == first["createdAt"]
    assert backend.submissions("token-a") == 1
