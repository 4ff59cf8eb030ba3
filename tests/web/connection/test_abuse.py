"""Connections that pipeline data, or send it in tiny chunks: their cost is bounded, and others are not affected."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.web.connection.framing import MAX_BODY_PARTS
from tests.support.clock import HandClock
from tests.support.raw_client import exchange
from tests.support.service import Service, call_bytes, sandbox, serving, settings
from tests.web.connection.test_limits import GET, START, port_of, serving_with

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = GET + b"Connection: close\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(), sandbox(clock), clock) as running:
        yield running


@pytest.mark.parametrize("name", ["Connection", "Content-Length", "Host", "transfer-encoding", "Upgrade", "Expect"])
async def test_a_forbidden_trailer_field_closes_the_connection(service: Service, name: str) -> None:
    sent = CHUNKED + b"2\r\n{}\r\n0\r\n" + name.encode() + b": close\r\n\r\n"
    answers = await exchange(service.url, sent + LAST)
    assert [answer.status for answer in answers] == [400]
    assert b"connection: close" in answers[0].head


async def test_other_trailers_are_dropped_and_the_connection_stays_open(service: Service) -> None:
    sent = CHUNKED + b"2\r\n{}\r\n0\r\nX-Checksum: abc\r\n\r\n"
    assert [answer.status for answer in await exchange(service.url, sent + LAST)] == [400, 200]


async def test_a_body_in_too_many_chunks_is_refused(service: Service) -> None:
    chunks = b"1\r\n \r\n" * (MAX_BODY_PARTS + 1)
    answers = await exchange(service.url, CHUNKED + chunks + b"0\r\n\r\n" + LAST)
    assert [answer.status for answer in answers] == [400]
    assert b"chunks" in answers[0].body


@pytest.mark.parametrize(
    "behind",
    [
        (GET + b"X-A: " + b"a" * 6_000 + b"\r\n\r\n") * 4,
        START + b"Content-Length: 60000\r\n\r\n" + b" " * 60_000,
        GET + b"X-A: " + b"a" * 20_000,
        (GET + b"a:\r\n" * 95 + b"\r\n") * 6,
        START + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 2_000,
    ],
    ids=["heads", "a body", "half a head", "short headers", "short chunks"],
)
async def test_data_pipelined_behind_a_waiting_request_is_limited(behind: bytes) -> None:
    clock = HandClock()
    async with serving(settings(), sandbox(clock), clock) as service, asyncio.timeout(20):
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        call = call_bytes("luma_get_task", {"task_id": task_id, "wait_seconds": 50}, "token-a")
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        writer.write(call)
        while not service.assembly.pollers.callers:
            await asyncio.sleep(0.001)
        before = await _refusals(service, "503")
        writer.write(behind)
        while await _refusals(service, "503") == before:
            clock.advance(1)
            await asyncio.sleep(0.001)
        writer.close()
        while service.assembly.request_memory.in_use:
            await asyncio.sleep(0.001)
        assert await _refusals(service, "503") == before + 1


async def test_a_disconnect_is_noticed_although_unread_data_is_pipelined() -> None:
    clock = HandClock()
    async with serving(settings(), sandbox(clock), clock) as service, asyncio.timeout(20):
        task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
        call = call_bytes("luma_get_task", {"task_id": task_id, "wait_seconds": 50}, "token-a")
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        writer.write(call + START + b"Content-Length: 250000\r\n\r\n" + b" " * 250_000)
        while not service.assembly.pollers.callers:
            await asyncio.sleep(0.001)
        writer.transport.abort()
        while service.assembly.pollers.callers:
            await asyncio.sleep(0.001)
        assert 'outcome="cancelled"' in (await service.http.get(f"{service.url}/metrics")).text


async def test_the_keep_alive_timeout_starts_at_the_end_of_a_body_answered_early() -> None:
    half = b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{"
    async with serving_with(body_seconds=0.3, keep_alive_seconds=30.0) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        writer.write(half)
        assert b" 404 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"}")
        assert [answer.status for answer in await exchange(service.url, half)] == [404], "closed at the body timeout"
        writer.write(LAST)
        assert b" 200 " in await asyncio.wait_for(reader.read(), 10)
        writer.close()


async def _refusals(service: Service, status: str) -> float:
    page = (await service.http.get(f"{service.url}/metrics")).text
    line = f'luma_mcp_http_refusals_total{{status="{status}"}} '
    return float(page.partition(line)[2].partition("\n")[0] or 0)
