"""A public URL that the backend cannot reach: tasks are polled on schedule again until a callback arrives."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.adapters.sandbox.backend import create_sandbox
from app.adapters.sandbox.engine import Sandbox
from app.settings import Settings
from tests.support.clock import HandClock, while_time_passes
from tests.support.process import environment, run
from tests.support.redis_server import RedisServer
from tests.support.service import FREE, KEY, Service, listening, serving, settings

PUBLIC = "https://luma.example.com"
SECONDS = 100.0
LATE = 1.2 * 150
"""The age (s) at which a task that expects a callback is read without one."""


class Network:
    """The route of callbacks to the services in `addresses`. They are dropped unless `is_open` is set."""

    def __init__(self) -> None:
        self.is_open = False
        self.addresses: list[str] = []
        self.client = httpx.AsyncClient()

    async def deliver(self, url: str, body: dict[str, Any]) -> None:
        if not self.is_open:
            raise httpx.ConnectError("no route")
        (await self.client.post(self.addresses[0] + url.removeprefix(PUBLIC), json=body)).raise_for_status()


@asynccontextmanager
async def called_over(
    network: Network, clock: HandClock, values: Settings, replicas: int = 1
) -> AsyncIterator[tuple[list[Service], Sandbox]]:
    """Serve over a backend whose callbacks go through `network` to the first replica."""
    backend = Sandbox(
        seconds=SECONDS,
        media_url="https://cdn.example.com",
        clock=clock,
        sleep=clock.sleep,
        behaviour=FREE,
        deliver=network.deliver,
    )
    async with network.client, AsyncExitStack() as stack:
        running = [await stack.enter_async_context(serving(values, backend, clock)) for _ in range(replicas)]
        network.addresses += [service.url for service in running]
        stack.push_async_callback(backend.callbacks.close)
        yield running, backend


async def seen_after(service: Service, clock: HandClock) -> float:
    """Buy a video, wait for it as a model does, and return the seconds until a call showed it as completed."""
    began = clock.now
    task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]
    while True:
        question = service.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50})
        if (await while_time_passes(clock, question, step=0.5))["state"] == "completed":
            return clock.now - began


async def metric(service: Service, line: str) -> float:
    text = (await service.http.get(f"{service.url}/metrics")).text
    return next(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line))


async def test_polling_resumes_after_a_task_ended_without_a_callback(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with called_over(Network(), clock, settings(public_url=PUBLIC)) as ((service,), _):
        first, *others = [await seen_after(service, clock) for _ in range(3)]
        doubted = await metric(service, "luma_mcp_callbacks_doubted")
        missing = await metric(service, 'luma_mcp_callbacks_total{outcome="missing"}')
    assert first >= LATE
    assert max(others) <= SECONDS * 1.2
    assert (doubted, missing) == (1, 1)
    said = [record.getMessage() for record in caplog.records if "does not call back" in record.getMessage()]
    assert len(said) == 1
    assert "Let AceDataCloud reach LUMA_MCP_PUBLIC_URL" in said[0]


async def test_callbacks_are_relied_on_again_after_the_first_one_arrives(clock: HandClock) -> None:
    network = Network()
    async with called_over(network, clock, settings(public_url=PUBLIC)) as ((service,), backend):
        await seen_after(service, clock)
        network.is_open = True
        assert await seen_after(service, clock) <= SECONDS + 6, "its callback came in time"
        assert await metric(service, "luma_mcp_callbacks_doubted") == 0
        reads = backend.reads
        assert await seen_after(service, clock) <= SECONDS + 6
        assert backend.reads == reads + 1, "the read that the callback brought, and none on schedule"


async def test_one_lost_callback_does_not_resume_polling(clock: HandClock) -> None:
    network = Network()
    network.is_open = True
    async with called_over(network, clock, settings(public_url=PUBLIC)) as ((service,), _):
        await seen_after(service, clock)
        network.is_open = False
        await seen_after(service, clock)
        assert await metric(service, "luma_mcp_callbacks_doubted") == 0
        await seen_after(service, clock)
        assert await metric(service, "luma_mcp_callbacks_doubted") == 1


async def test_a_callback_at_one_replica_lets_the_other_rely_on_callbacks_again(
    clock: HandClock, redis_server: RedisServer
) -> None:
    network = Network()
    values = settings(public_url=PUBLIC, redis_url=redis_server.url)
    async with called_over(network, clock, values, replicas=2) as ((one, other), _):
        await seen_after(other, clock)
        assert await metric(other, "luma_mcp_callbacks_doubted") == 1
        network.is_open = True
        await seen_after(one, clock)
        async with asyncio.timeout(10):
            while await metric(other, "luma_mcp_callbacks_doubted") == 1:
                await asyncio.sleep(0)


async def test_a_late_callback_does_not_count_as_working(clock: HandClock) -> None:
    network = Network()
    async with called_over(network, clock, settings(public_url=PUBLIC)) as ((service,), backend):
        await seen_after(service, clock)
        task_id = next(iter(backend.read_ids))[0]
        url = backend.read("anyone", {"id": task_id})["request"]["callback_url"]
        answer = await service.http.post(service.url + url.removeprefix(PUBLIC), json={"task_id": task_id})
        assert answer.status_code == 204
        assert await metric(service, "luma_mcp_callbacks_doubted") == 1


async def test_check_reports_missing_callbacks(clock: HandClock, redis_server: RedisServer, tmp_path: Path) -> None:
    async with listening(create_sandbox(seconds=1, media_url="https://cdn.example.com")) as url:
        shared = {"public_url": PUBLIC, "redis_url": redis_server.url, "acedata_url": url}

        async def check() -> str:
            env = environment(secret_key=KEY, **shared)
            return (await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)).stdout

        assert "callbacks: asked for, and none is known to be missing" in await check()
        async with called_over(Network(), clock, settings(**shared)) as ((service,), _):
            await seen_after(service, clock)
            assert f"warning: AceDataCloud does not call back at {PUBLIC}" in await check()
