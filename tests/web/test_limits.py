"""Limits for each caller: streams, waits, request memory; and the errors, gauges and log lines about them."""

import asyncio
import json
import logging
import tracemalloc
import weakref
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from mcp.server.lowlevel import Server
from starlette.types import Message

from app.composition.quotas import SHARE_OF_UNACCEPTED
from app.mcp_server.extensions.subscriptions import MAX_LISTENERS, MAX_LISTENERS_PER_CALLER, MAX_SECONDS
from app.observability.metrics import MAX_CLIENT_LENGTH, _client_label
from app.services.polling.waiter import MAX_WAITING_PER_CALLER
from app.web.connection.account import HEADER_BYTES
from app.web.mcp_endpoint import McpEndpoint
from app.web.middleware.fair_scheduling import FairScheduler
from app.web.middleware.request_memory import HEAD_ALLOWANCE_BYTES, PARTIAL_REQUEST_BYTES, REQUEST_BYTES, decoded_bytes
from tests.support.clock import HandClock
from tests.support.service import MODERN, Service, call_bytes, envelope, padded, sandbox, serving, settings

STREAM = {"accept": "application/json, text/event-stream"}


async def one_limit(service: Service, limit: str) -> float:
    page = (await service.http.get(f"{service.url}/metrics")).text
    lines = [line for line in page.splitlines() if line.startswith(f'luma_mcp_limits_reached_total{{limit="{limit}"}}')]
    return float(lines[0].split()[1]) if lines else 0.0


@asynccontextmanager
async def listener(service: Service, token: str) -> AsyncIterator[httpx.Response]:
    asked = {"notifications": {"resourceSubscriptions": ["luma://tasks/nobody-knows"]}}
    message, headers = envelope("subscriptions/listen", asked, MODERN)
    sent = {**headers, **STREAM, "authorization": f"Bearer {token}"}
    async with service.http.stream("POST", f"{service.url}/mcp", json=message, headers=sent) as response:
        yield response


async def first_line(lines: AsyncIterator[str]) -> str:
    """Return the first message of a stream, which stays open as long as `lines` is held."""
    while not (line := await anext(lines)).startswith("data: {"):
        pass
    return line


async def test_listeners_are_limited_for_each_token(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    limits = httpx.Limits(max_connections=200)
    async with (
        serving(settings(), sandbox(clock), clock) as running,
        httpx.AsyncClient(timeout=30, limits=limits) as http,
        AsyncExitStack() as stack,
    ):
        service = Service(running.url, running.assembly, http)
        opened = [await stack.enter_async_context(listener(service, "a")) for _ in range(MAX_LISTENERS_PER_CALLER)]
        streams = [stream.aiter_lines() for stream in opened]
        assert all(["acknowledged" in await first_line(stream) for stream in streams])
        with caplog.at_level(logging.WARNING):
            refusals = []
            for _ in range(3):
                async with listener(service, "a") as refused:
                    refusals.append((await refused.aread()).decode())
        async with listener(service, "b") as other:
            assert "acknowledged" in await first_line(other.aiter_lines())
        counted = await one_limit(service, "listeners")
    assert all("rate_limited" in answer and "retry_after_seconds" in answer for answer in refusals)
    assert counted == 3
    assert len([record for record in caplog.records if "Refused a listener" in record.getMessage()]) == 1


async def test_a_listener_ends_in_time_with_its_result(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service, listener(service, "a") as stream:
        lines = stream.aiter_lines()
        async for line in lines:
            if "acknowledged" in line:
                break
        while not clock.sleepers:
            await asyncio.sleep(0)
        clock.advance(MAX_SECONDS)
        rest = [line async for line in lines if line.startswith("data: {")]
    assert '"result"' in rest[-1]


async def test_waits_are_limited_for_each_token(clock: HandClock) -> None:
    limits = httpx.Limits(max_connections=300)
    async with (
        serving(settings(), sandbox(clock), clock) as running,
        httpx.AsyncClient(timeout=30, limits=limits) as http,
    ):
        service = Service(running.url, running.assembly, http)
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        asked = {"task_id": task_id, "wait_seconds": 50}
        waiting = [asyncio.create_task(service.ask("luma_get_task", asked)) for _ in range(MAX_WAITING_PER_CALLER)]
        while service.assembly.pollers.callers < MAX_WAITING_PER_CALLER:
            await asyncio.sleep(0)
        refused = await service.fail("luma_get_task", asked)
        at_once = await service.ask("luma_get_task", {"task_id": task_id})
        other = asyncio.create_task(service.ask("luma_get_task", asked, token="token-b"))
        while service.assembly.pollers.callers == MAX_WAITING_PER_CALLER:
            await asyncio.sleep(0)
        for call in (*waiting, other):
            call.cancel()
        await asyncio.gather(*waiting, other, return_exceptions=True)
        assert await one_limit(service, "waits") == 1
    assert refused["code"] == "rate_limited"
    assert refused["retry_after_seconds"] == 5
    assert "wait_seconds 0" in refused["message"]
    assert at_once["state"] in ("pending", "processing")


@pytest.mark.parametrize(
    ("method", "params", "outcome"),
    [
        ("resources/read", {"uri": "luma://tasks/nobody-knows"}, "invalid_request"),
        (
            "completion/complete",
            {
                "ref": {"type": "ref/resource", "uri": "luma://tasks/{task_id}"},
                "argument": {"name": "task_id", "value": ""},
            },
            "ok",
        ),
        ("tasks/get", {"taskId": "v1.forged"}, "invalid_request"),
        ("tasks/update", {"taskId": "v1.forged", "inputResponses": {}}, "invalid_request"),
        ("tasks/cancel", {"taskId": "v1.forged"}, "invalid_request"),
        (
            "subscriptions/listen",
            {"notifications": {"resourceSubscriptions": ["luma://tasks/nobody-knows"] * 101}},
            "invalid_request",
        ),
    ],
)
async def test_requests_about_tasks_are_counted_and_logged_like_tool_calls(
    method: str, params: dict[str, object], outcome: str, clock: HandClock, capfd: pytest.CaptureFixture[str]
) -> None:
    declared: dict[str, object] = {
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    }
    async with serving(settings(), sandbox(clock), clock) as service:
        await service.request(method, {**params, "_meta": declared})
        page = (await service.http.get(f"{service.url}/metrics")).text
    assert f'luma_mcp_calls_total{{era="2026",outcome="{outcome}",tool="{method}"}} 1.0' in page
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith('{"event":"call"')]
    assert [(line["tool"], line["outcome"]) for line in lines] == [(method, outcome)]
    assert "nobody-knows" not in str(lines)


async def test_a_stream_is_counted_and_logged_when_it_ends(clock: HandClock, capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        async with listener(service, "token-a") as response:
            assert "acknowledged" in await first_line(response.aiter_lines())
        while service.assembly.listeners.in_use:
            await asyncio.sleep(0)
        page = (await service.http.get(f"{service.url}/metrics")).text
    assert 'luma_mcp_calls_total{era="2026",outcome="cancelled",tool="subscriptions/listen"} 1.0' in page
    assert '"tool":"subscriptions/listen","outcome":"cancelled"' in capfd.readouterr().err


async def test_a_long_client_name_is_cut_before_it_is_stored(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        misses = _client_label.cache_info().misses
        for number in range(20):
            info = {"name": "x" * MAX_CLIENT_LENGTH + "y" * 100_000 + f"{number}", "version": "1"}
            message, headers = envelope("tools/call", {"name": "luma_list_actions", "arguments": {}}, MODERN)
            message["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] = info
            assert (await service.post(message, headers=headers)).status_code == 200
    assert _client_label.cache_info().misses <= misses + 1, "the cache of labels was asked for whole names"


@pytest.mark.parametrize(
    "padding",
    ["[" + ",".join(["[]"] * 60_000) + "]", '"' + "a" * 240_000 + '"', "[" + ",".join(['{"":0}'] * 30_000) + "]"],
    ids=["lists", "text", "objects"],
)
async def test_large_requests_of_one_token_are_limited_in_memory(clock: HandClock, padding: str) -> None:
    limits = httpx.Limits(max_connections=100)
    async with (
        serving(settings(), sandbox(clock), clock) as service,
        httpx.AsyncClient(timeout=30, limits=limits) as http,
    ):
        running = await service.ask("luma_generate_video", {"prompt": "A fox"}, token="a")
        arguments = {"task_id": running["task_id"], "wait_seconds": 50}
        message, headers = envelope("tools/call", {"name": "luma_get_task", "arguments": arguments}, MODERN)
        body = padded(message, padding)

        async def send(token: str) -> httpx.Response:
            sent = {**headers, "authorization": f"Bearer {token}", "content-type": "application/json"}
            return await http.post(f"{service.url}/mcp", content=body, headers=sent)

        calls = [asyncio.create_task(send("a")) for _ in range(40)]
        refused = [await calls.pop(calls.index(call)) for call in await _all_but_held(calls, service)]
        held = service.assembly.request_memory.in_use
        other = await service.ask("luma_list_actions", {}, token="token-b")
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert len(refused) >= 30
    assert held <= 10_000_000
    assert {response.status_code for response in refused} == {429}
    assert refused[0].headers["retry-after"] == "5"
    assert (refused[0].json()["jsonrpc"], refused[0].json()["id"]) == ("2.0", None)
    assert refused[0].json()["error"]["data"]["code"] == "rate_limited"
    assert other["actions"]


async def _all_but_held(
    calls: list[asyncio.Task[httpx.Response]], service: Service
) -> list[asyncio.Task[httpx.Response]]:
    """Return the answered calls as soon as all others wait."""
    while sum(call.done() for call in calls) + service.assembly.pollers.callers < len(calls):
        await asyncio.sleep(0.001)
    return [call for call in calls if call.done()]


async def test_request_memory_is_released_after_each_request(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        await service.ask("luma_get_tasks_batch", {"task_ids": [task_id]})
        await service.fail("luma_get_task", {"task_id": "nobody-knows"})
        await service.post({"not": "json-rpc"})
        assert service.assembly.request_memory.in_use == 0


async def test_a_partial_body_counts_its_bytes_and_a_refusal_releases_nothing_else(clock: HandClock) -> None:
    async with serving(settings(request_memory_mb=16), sandbox(clock), clock) as service, asyncio.timeout(20):
        memory, port = service.assembly.request_memory, urlsplit(service.url).port or 0
        senders = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(5)]
        head = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\n"
        for writer in senders:
            writer.write(head + b"Content-Length: 260001\r\n\r\n" + b"{" * 260_000)
        while memory.in_use != 5 * (PARTIAL_REQUEST_BYTES + 260_000):
            await asyncio.sleep(0.001)
        refused = [await service.post({"not": "json-rpc" * 10_000}, token="x") for _ in range(3)]
        assert [response.status_code for response in refused] == [429, 429, 429]
        assert memory.in_use == 5 * (PARTIAL_REQUEST_BYTES + 260_000)
        for writer in senders:
            writer.close()
        while memory.in_use:
            await asyncio.sleep(0.001)


async def test_invented_tokens_share_a_part_of_the_listeners(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service, AsyncExitStack() as stack:
        await service.ask("luma_generate_video", {"prompt": "A fox"}, token="known")
        for number in range(MAX_LISTENERS // SHARE_OF_UNACCEPTED):
            service.assembly.listeners.take(f"invented-{number}")
        refused = await stack.enter_async_context(listener(service, "one-more"))
        assert "of these limits is reached" in (await refused.aread()).decode()
        heard = await stack.enter_async_context(listener(service, "known"))
        assert "acknowledged" in await first_line(heard.aiter_lines())


@examples(deadline=None)
@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_the_memory_estimate_covers_the_decoded_body(value: object) -> None:
    body = json.dumps(value).encode()
    tracemalloc.start()
    parsed = json.loads(body)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert parsed == value
    assert held <= REQUEST_BYTES + decoded_bytes(body)


async def gauges(service: Service) -> dict[str, float]:
    page = (await service.http.get(f"{service.url}/metrics")).text
    lines = [
        line.split() for line in page.splitlines() if line.startswith(("luma_mcp_", "process_")) and "{" not in line
    ]
    return {name: float(value) for name, value in lines}


async def test_gauges_show_calls_waits_and_submissions_in_flight(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        waiting = asyncio.create_task(service.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50}))
        while service.assembly.pollers.callers < 1:
            await asyncio.sleep(0)
        async with listener(service, "a") as stream:
            lines = stream.aiter_lines()
            await first_line(lines)
            busy = await gauges(service)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        while (idle := await gauges(service))["luma_mcp_calls_in_flight"]:
            pass
        page = (await service.http.get(f"{service.url}/metrics")).text
    names = ("calls_in_flight", "waiting_callers", "listeners", "submissions_in_flight")
    assert [busy[f"luma_mcp_{name}"] for name in names] == [2, 1, 1, 0]
    assert [idle[f"luma_mcp_{name}"] for name in names] == [0, 0, 0, 0]
    assert idle["process_resident_memory_bytes"] > 0
    assert "_created" not in page


async def test_the_line_of_a_submission_carries_its_task(clock: HandClock, capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        await service.ask("luma_get_task", {"task_id": task_id})
        await service.fail("luma_generate_video", {"prompt": "[broke]"})
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"event":"call"' in line]
    assert [line.get("task_id") for line in lines] == [task_id, None, None]
    assert lines[2]["outcome"] == "no_credit"


async def test_a_head_counts_in_the_memory_budget_until_its_response_ends(clock: HandClock) -> None:
    fields = "".join(f"h{number}: b\r\n" for number in range(85)).encode()
    async with serving(settings(), sandbox(clock), clock) as service, asyncio.timeout(20):
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        call = call_bytes("luma_get_task", {"task_id": task_id, "wait_seconds": 50}, "token-a")
        held = []
        for request in (call, call.replace(b"\r\n", b"\r\n" + fields, 1)):
            _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port or 0)
            writer.write(request)
            while not service.assembly.pollers.callers:
                await asyncio.sleep(0.001)
            held.append(service.assembly.request_memory.in_use)
            writer.close()
            while service.assembly.request_memory.in_use:
                await asyncio.sleep(0.001)
    assert held[1] - held[0] > 85 * HEADER_BYTES - HEAD_ALLOWANCE_BYTES


class Part(dict[str, Any]):
    """An ASGI message that supports weak references."""


async def test_a_part_of_a_body_is_in_memory_once() -> None:
    """Regression: each of 400 half-sent bodies of 60 KB took 137 KB."""
    parts = list[weakref.ref[Part]]()

    async def receive() -> Part:
        assert not any(part() for part in parts)
        part = Part(type="http.request", body=b"{", more_body=len(parts) < 3)
        parts.append(weakref.ref(part))
        return part

    async def send(message: Message) -> None:
        answered.append(message)

    answered = list[Message]()
    endpoint = McpEndpoint(Server("test"), FairScheduler(lambda _caller: True), lambda _status: None)
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [(b"content-type", b"application/json")]}
    await endpoint(scope, receive, send)
    assert [message.get("status") for message in answered] == [400, None]
    assert len(parts) == 4
