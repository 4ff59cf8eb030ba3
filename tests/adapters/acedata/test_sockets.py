"""The adapter over real sockets: broken connections, and reuse of connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app.adapters.acedata.backend import AceDataBackend
from app.adapters.acedata.client import AceDataClient, Timeouts
from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.adapters.acedata.pool import BackendHttp
from app.domain.access import Credential
from app.domain.errors import BackendError, OutcomeUnknown
from app.domain.generation import GenerateVideo
from app.domain.task import Task
from app.services.limits.backend_limits import BackendLimits
from tests.support.acedata import CREDENTIAL, NOW, QUICK, completed
from tests.support.raw_http import Misbehaviour, raw_server, reset, write_json
from tests.support.redis_server import free_port
from tests.support.telemetry import Notes

READS = 500
AT_ONCE = 16
UNHURRIED = Timeouts(connect=60.0, pool=60.0, read=60.0, read_deadline=60.0)
"""Long timeouts for tests that count connections: on a busy machine, a timeout would open another one."""


@asynccontextmanager
async def adapter_to(url: str, timeouts: Timeouts = QUICK) -> AsyncIterator[AceDataBackend]:
    limits = httpx.Limits(keepalive_expiry=None)  # on a loaded machine connections are idle for long
    transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
    async with BackendHttp(url, user_agent="tests", connections=1, transport=transport) as http:
        yield AceDataBackend(
            AceDataClient(http, Notes(), timeouts, BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE)), lambda: NOW
        )


async def reset_before_headers(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    reset(writer)


async def close_before_headers(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    writer.close()


async def reset_in_headers(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-")
    await writer.drain()
    reset(writer)


async def reset_after_headers(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n")
    await writer.drain()
    reset(writer)


async def truncate_body(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"task_id": "task-0"}')
    writer.close()


async def truncate_chunks(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n15\r\n{"task_id": "task-0"}\r\n')
    writer.close()


async def speak_no_http(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.0\r\n")
    writer.close()


async def answer_well(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    write_json(writer, completed(body["id"]) if "id" in body else {"task_id": "task-0"})


BREAKS = pytest.mark.parametrize(
    "misbehave",
    [
        reset_before_headers,
        close_before_headers,
        reset_in_headers,
        reset_after_headers,
        truncate_body,
        truncate_chunks,
        speak_no_http,
    ],
)


@BREAKS
async def test_a_read_is_retried_after_a_broken_connection(misbehave: Misbehaviour) -> None:
    broken = False

    async def answer(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        nonlocal broken
        first, broken = not broken, True
        await (misbehave if first else answer_well)(writer, body)

    async with raw_server(answer) as server, adapter_to(server.url) as adapter:
        result = await adapter.find_tasks(CREDENTIAL, ["task-0"])
    assert isinstance(result.answers["task-0"], Task)
    assert (result.calls, server.requests) == (2, 2)


@BREAKS
async def test_a_read_fails_if_every_connection_breaks(misbehave: Misbehaviour) -> None:
    async with raw_server(misbehave) as server, adapter_to(server.url) as adapter:
        result = await adapter.find_tasks(CREDENTIAL, ["task-0"])
    assert type(result.answers["task-0"]) is BackendError
    assert server.requests == 3


@BREAKS
async def test_a_submission_over_a_broken_connection_is_sent_once_and_its_outcome_unknown(
    misbehave: Misbehaviour,
) -> None:
    async with raw_server(misbehave) as server, adapter_to(server.url) as adapter:
        with pytest.raises(OutcomeUnknown):
            await adapter.submit(CREDENTIAL, GenerateVideo("A fox"))
    assert server.requests == 1


async def test_a_submission_without_a_connection_is_reported_as_not_sent() -> None:
    async with adapter_to(f"http://127.0.0.1:{free_port()}") as adapter:
        with pytest.raises(BackendError, match="Nothing was sent"):
            await adapter.submit(CREDENTIAL, GenerateVideo("A fox"))


async def test_a_submission_succeeds_if_the_backend_has_closed_an_idle_connection() -> None:
    async def answer_and_close(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        await answer_well(writer, body)
        writer.close()

    async with raw_server(answer_and_close) as server, adapter_to(server.url) as adapter:
        await adapter.find_tasks(CREDENTIAL, ["task-0"])
        assert await adapter.submit(CREDENTIAL, GenerateVideo("A fox")) == "task-0"
    assert (server.requests, server.connections) == (2, 2)


async def test_connections_are_reused() -> None:
    async with raw_server(answer_well) as server, adapter_to(server.url, UNHURRIED) as adapter:
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(number: int) -> None:
            caller = Credential(f"tenant-{number % 4}", f"token-{number % 4}")
            async with turns:
                result = await adapter.find_tasks(caller, [f"task-{number}"])
            assert isinstance(result.answers[f"task-{number}"], Task)

        await asyncio.gather(*map(ask, range(READS)))
    assert server.requests == READS
    assert server.connections <= AT_ONCE


async def test_a_broken_connection_is_not_reused() -> None:
    answers = [reset_after_headers, truncate_body, answer_well]

    async def answer(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        await (answers.pop(0) if len(answers) > 1 else answers[0])(writer, body)

    async with raw_server(answer) as server, adapter_to(server.url) as adapter:
        for number in range(5):
            result = await adapter.find_tasks(CREDENTIAL, [f"task-{number}"])
            assert isinstance(result.answers[f"task-{number}"], Task)
    assert server.connections == 3
