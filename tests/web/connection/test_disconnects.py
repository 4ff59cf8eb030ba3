"""Disconnects and half-closes while several requests of a connection are pending."""

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.web.middleware.request_memory import REQUEST_BYTES
from tests.support.clock import HandClock
from tests.support.process import environment, serving_process
from tests.support.raw_client import answers_in
from tests.support.service import MODERN, call_bytes, envelope, request_bytes, sandbox, serving, settings


def test_a_disconnect_with_two_pipelined_requests_logs_no_traceback(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        task_id = _generate(server.url)
        waiting = call_bytes("luma_get_task", {"task_id": task_id, "wait_seconds": 50}, "token")
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as client:
            client.sendall(waiting * 2)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b"", "closed before the first request is answered"
    assert "exception" not in server.log()


def test_a_disconnect_of_a_stream_with_a_pipelined_request_is_noticed(tmp_path: Path) -> None:
    message, headers = envelope("subscriptions/listen", {"notifications": {}}, MODERN)
    listening = request_bytes(message, {**headers, "accept": "application/json, text/event-stream"}, "token")
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=10) as client:
            client.sendall(listening * 2)
            received = b""
            while b"acknowledged" not in received:
                received += client.recv(10_000)
        assert httpx.get(f"{server.url}/livez").status_code == 200
    assert "without completing response" not in server.log(), "the stream was still open when the service stopped"


async def test_a_wait_of_a_large_request_ends_when_its_client_disconnects(clock: HandClock) -> None:
    message, headers = envelope("tools/call", {"name": "luma_get_task", "arguments": {"wait_seconds": 50}}, MODERN)
    message["params"]["_meta"]["padding"] = "a" * 200_000
    async with serving(settings(), sandbox(clock), clock) as service, asyncio.timeout(20):
        started = await service.ask("luma_generate_video", {"prompt": "A fox"}, token="token")
        message["params"]["arguments"]["task_id"] = started["task_id"]
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        writer.write(request_bytes(message, headers, "token"))
        while not service.assembly.pollers.callers:
            await asyncio.sleep(0.001)
        writer.close()
        while service.assembly.pollers.callers:
            await asyncio.sleep(0.001)
        assert service.assembly.request_memory.in_use == 0


def _generate(url: str) -> str:
    message, headers = envelope("tools/call", {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}}, MODERN)
    sent = {**headers, "authorization": "Bearer token", "accept": "application/json"}
    answer = httpx.post(f"{url}/mcp", json=message, headers=sent, timeout=30).json()
    return str(answer["result"]["structuredContent"]["result"]["task_id"])


async def test_a_call_waiting_for_one_with_the_same_idempotency_key_ends_at_a_disconnect(clock: HandClock) -> None:
    backend = HeldBackend()
    async with serving(settings(), backend, clock) as service:
        first = asyncio.create_task(service.ask("luma_generate_video", {"prompt": "A fox", "idempotency_key": "k"}))
        await backend.asked.wait()
        request = call_bytes("luma_generate_video", {"prompt": "A fox", "idempotency_key": "k"}, "token-a")
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        writer.write(request)
        while service.assembly.request_memory.in_use < 2 * REQUEST_BYTES:
            await asyncio.sleep(0.001)
        writer.close()
        while service.assembly.request_memory.in_use >= 2 * REQUEST_BYTES:
            await asyncio.sleep(0.001)
        assert not first.done(), "the purchase in progress continues"
        backend.go_on.set()
        assert (await first)["task_id"] == "t1"
    assert backend.submissions == 1


HALVES = (b"", b"GET /livez HTTP/1.1\r\nHost", b"POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")


@pytest.mark.parametrize("behind", HALVES, ids=["nothing", "half a head", "half a body"])
async def test_complete_requests_are_answered_after_a_half_close(clock: HandClock, behind: bytes) -> None:
    backend = HeldBackend()
    async with serving(settings(), backend, clock) as service, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        call = call_bytes("luma_generate_video", {"prompt": "A fox"}, "token-a")
        writer.write(call + b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + behind)
        writer.write_eof()
        await backend.asked.wait()
        await service.http.get(f"{service.url}/livez")  # the service has now read the half-close
        backend.go_on.set()
        answers = list(answers_in(await reader.read()))
        writer.close()
    assert [answer.status for answer in answers] == [200, 200]
    assert b"t1" in answers[0].body


async def test_a_wait_ends_soon_after_a_half_close(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service, asyncio.timeout(20):
        started = await service.ask("luma_generate_video", {"prompt": "A fox"}, token="token")
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        waiting = call_bytes("luma_get_task", {"task_id": started["task_id"], "wait_seconds": 50}, "token")
        writer.write(waiting * 3)
        writer.write_eof()
        assert await reader.read() == b""
        while service.assembly.pollers.callers:
            await asyncio.sleep(0.001)
        assert service.assembly.request_memory.in_use == 0
        writer.close()


async def test_a_disconnect_ends_the_wait_and_the_rest_of_a_json_rpc_array(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service, asyncio.timeout(20):
        started = await service.ask("luma_generate_video", {"prompt": "A fox"}, token="token")
        calls = [
            {"name": "luma_get_task", "arguments": {"task_id": started["task_id"], "wait_seconds": 50}},
            {"name": "luma_generate_video", "arguments": {"prompt": "Never bought"}},
        ]
        array = [
            {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
            for number, call in enumerate(calls)
        ]
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        writer.write(request_bytes(array, {"accept": "application/json"}, "token"))
        while not service.assembly.pollers.callers:
            await asyncio.sleep(0.001)
        writer.close()
        while service.assembly.pollers.callers or service.assembly.request_memory.in_use:
            await asyncio.sleep(0.001)
        await service.ask("luma_get_task", {"task_id": started["task_id"]}, token="token")
        assert backend.submissions("token") == 1


async def test_a_purchase_completes_although_its_client_disconnects(clock: HandClock) -> None:
    backend = HeldBackend()
    async with serving(settings(), backend, clock) as service:
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        writer.write(call_bytes("luma_generate_video", {"prompt": "A fox"}, "token-a"))
        await backend.asked.wait()
        writer.close()
        while service.assembly.metrics.registry.get_sample_value("luma_mcp_calls_in_flight"):
            await asyncio.sleep(0.001)
        assert service.assembly.request_memory.in_use >= REQUEST_BYTES, "the purchase keeps the memory lease"
        backend.go_on.set()
        params = {
            "ref": {"type": "ref/resource", "uri": "luma://tasks/{task_id}"},
            "argument": {"name": "task_id", "value": ""},
        }
        known: list[str] = []
        while not known:
            known = (await service.request("completion/complete", params))["result"]["completion"]["values"]
    assert known == ["t1"]


class HeldBackend(httpx.AsyncBaseTransport):
    """A backend that answers a submission only after `go_on` is set."""

    def __init__(self) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.submissions = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.submissions += 1
        self.asked.set()
        await self.go_on.wait()
        return httpx.Response(200, json={"task_id": "t1"})
