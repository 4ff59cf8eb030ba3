"""The Python SDK's clients of old and new protocol revisions, over HTTP and stdio."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from app.services.polling.waiter import PROGRESS_SECONDS
from app.web.mcp_endpoint import MAX_BODY_BYTES
from tests.support.clock import HandClock, while_time_passes
from tests.support.process import COMMAND, environment, serving_process
from tests.support.service import SECONDS, sandbox, serving, settings


@asynccontextmanager
async def client_of(url: str, mode: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": "Bearer token-a"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_the_python_client_makes_a_video_and_finds_it_completed(mode: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service, client_of(service.url, mode) as client:
        tools = (await client.list_tools()).tools
        assert tools[0].name == "luma_get_tasks_batch"
        started = await client.call_tool("luma_generate_video", {"prompt": "A red fox"})
        task_id = started.structured_content["result"]["task_id"]
        clock.advance(SECONDS)
        batch = await client.call_tool("luma_get_tasks_batch", {"task_ids": [task_id]})
        assert batch.structured_content["result"]["tasks"][0]["state"] == "completed"
        failed = await client.call_tool("luma_get_task", {"task_id": "unknown"})
        assert failed.is_error
        prompt = await client.get_prompt("luma_video_generation_guide")
        assert "luma_generate_video" in str(prompt.messages[0].content)


BEARER = {"authorization": "Bearer token-a"}
REFUSALS: list[tuple[dict[str, str], str, str]] = [
    ({}, "A fox", "unauthorized"),
    ({**BEARER, "origin": "https://evil.example.com"}, "A fox", "forbidden_origin"),
    ({**BEARER, "host": "evil.example.com"}, "A fox", "misdirected_request"),
    ({**BEARER, "content-type": "text/plain"}, "A fox", "unsupported_media_type"),
    (BEARER, "x" * MAX_BODY_BYTES, "body_too_large"),
]
"""Headers and prompt of a client, and the code of the error. No client gets a 408: it sends all before it reads."""


def shown(word: str) -> pytest.RaisesGroup[MCPError]:
    """Return the expectation of an error with this code and a sentence, instead of the HTTP status alone."""
    error = pytest.RaisesExc(
        MCPError, check=lambda exc: exc.error.data["code"] == word and len(exc.error.message.split()) > 5
    )
    return pytest.RaisesGroup(error, flatten_subgroups=True, allow_unwrapped=True)


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
@pytest.mark.parametrize(("headers", "prompt", "word"), REFUSALS, ids=["401", "403", "421", "415", "413"])
async def test_the_python_client_shows_why_a_request_is_refused(
    mode: Any, headers: dict[str, str], prompt: str, word: str, clock: HandClock
) -> None:
    async def set_headers(request: httpx2.Request) -> None:
        request.headers.update(headers)

    async with (
        serving(settings(), sandbox(clock), clock) as service,
        httpx2.AsyncClient(event_hooks={"request": [set_headers]}) as http,
    ):
        with shown(word):
            async with Client(streamable_http_client(f"{service.url}/mcp", http_client=http), mode=mode) as client:
                await client.call_tool("luma_generate_video", {"prompt": prompt})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_stdio_speaks_both_eras_and_ends_with_its_input(mode: Any, tmp_path: Path) -> None:
    env = environment(sandbox_seconds="0.01", pending_ttl_seconds="0.01")
    command = StdioServerParameters(command=COMMAND, args=["stdio", "--sandbox"], env=env, cwd=tmp_path)
    async with asyncio.timeout(60), Client(command, mode=mode) as client:
        started = await client.call_tool("luma_generate_video", {"prompt": "A red fox"})
        task_id = started.structured_content["result"]["task_id"]
        state = ""
        while state != "completed":
            task = await client.call_tool("luma_get_task", {"task_id": task_id})
            state = task.structured_content["result"]["state"]
    assert state == "completed"


async def test_stdio_without_a_token_names_the_setting_for_it(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND, "stdio", cwd=tmp_path, env=environment(), stderr=asyncio.subprocess.PIPE
    )
    _, error = await process.communicate()
    assert process.returncode == 2
    assert b"LUMA_MCP_TOKEN" in error


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_the_python_client_waits_with_progress(mode: str, clock: HandClock) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    backend = sandbox(clock, seconds=30)
    async with serving(settings(), backend, clock) as service, client_of(service.url, mode) as client:
        older = await client.call_tool("luma_generate_video", {"prompt": "A red fox"})
        clock.advance(15)
        newer = await client.call_tool("luma_generate_video", {"prompt": "A red fox"})
        task_ids = [started.structured_content["result"]["task_id"] for started in (older, newer)]
        question = {"task_ids": task_ids, "wait_seconds": 50}
        waiting = client.call_tool("luma_get_tasks_batch", question, progress_callback=progress)
        batch = await while_time_passes(clock, waiting)
    assert batch.structured_content["result"]["counts"]["completed"] == 2
    assert told[0] == (0, 50, "0 of 2 finished")
    elapsed = [done for done, _, _ in told]
    assert elapsed == sorted(set(elapsed)), "progress increases with every notification, and the first comes once"
    assert PROGRESS_SECONDS <= elapsed[1] < elapsed[-1] < 50, "it is the seconds since the call began"
    assert told[-1][1:] == (50, "1 of 2 finished")


async def test_a_client_of_2025_waits_with_progress(tmp_path: Path) -> None:
    python = Path(sys.prefix) / "client-2025" / "bin" / "python"
    assert python.exists(), "make test prepares the environment of the older client"
    env = environment(sandbox_seconds="1", pending_ttl_seconds="0.1")
    with serving_process("--sandbox", cwd=tmp_path, env=env) as server:
        url = await asyncio.to_thread(lambda: server.url)
        program = str(Path(__file__).with_name("client_2025.py"))
        process = await asyncio.create_subprocess_exec(
            str(python), program, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env
        )
        output, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    seen = json.loads(output)
    assert seen["revision"] == "2025-11-25"
    assert seen["counts"]["completed"] == 2
    assert seen["told"][0] == [0.0, 30.0, "0 of 2 finished"]
