"""Waits during failures: dead replicas, a failing backend, a Redis restart, and clients that disconnect."""

import asyncio
from typing import Any

import httpx
import pytest

from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.ports.coordination import EventKind
from app.services.polling.events import TaskEvent, pack
from app.services.polling.watched_tasks import EARLY_READ_SECONDS
from tests.support.clock import HandClock, while_time_passes
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.service import ERAS, MODERN, Service, envelope, sandbox, serving, settings


async def start(service: Service, count: int = 2) -> list[str]:
    started = [await service.ask("luma_generate_video", {"prompt": f"Fox {n}"}) for n in range(count)]
    return [result["task_id"] for result in started]


def set_lease_holder(service: Service, server: RedisServer, holder: bytes, milliseconds: int | None = None) -> None:
    """Set the holder of token-a's poller lease, with an expiry or without."""
    tenant = service.assembly.authenticator.hash_token("token-a")
    with server.client() as client:
        client.set(service.assembly.shared.keys.key(tenant, "watcher"), holder, px=milliseconds)


async def ask(service: Service, task_ids: list[str], wait_seconds: float = 50) -> Any:
    return await service.ask("luma_get_tasks_batch", {"task_ids": task_ids, "wait_seconds": wait_seconds})


async def test_the_lease_of_a_replica_that_died_is_taken_over(clock: HandClock, redis_server: RedisServer) -> None:
    backend = sandbox(clock, seconds=30)
    async with serving(settings(redis_url=redis_server.url), backend, clock) as service:
        task_ids = await start(service)
        set_lease_holder(service, redis_server, b"a replica that is no more", 300)
        answer = await while_time_passes(clock, ask(service, task_ids), step=0.5)
    assert answer["counts"]["completed"] == 2


async def test_a_replica_without_the_lease_does_not_read_the_backend(
    clock: HandClock, redis_server: RedisServer
) -> None:
    backend = sandbox(clock, seconds=1000)
    async with serving(settings(redis_url=redis_server.url), backend, clock) as service:
        task_ids = await start(service)
        set_lease_holder(service, redis_server, b"another replica, alive", 60_000)
        answer = await while_time_passes(clock, ask(service, task_ids, 20))
    assert answer["counts"]["pending"] == 2
    assert backend.reads == 0


class FailingTransport(httpx.AsyncBaseTransport):
    """A transport to the backend that raises ReadError while `broken` is set, and counts these failures."""

    def __init__(self, backend: Sandbox) -> None:
        self._inner = httpx.ASGITransport(sandbox_app(backend))
        self.broken = False
        self.failures = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.broken:
            self.failures += 1
            raise httpx.ReadError("reset", request=request)
        return await self._inner.handle_async_request(request)


async def test_a_failing_backend_delays_the_answer_and_is_retried_on_schedule(clock: HandClock) -> None:
    network = FailingTransport(sandbox(clock, seconds=30))
    async with serving(settings(), network, clock) as service:
        task_ids = await start(service)
        network.broken = True
        waiting = asyncio.create_task(ask(service, task_ids))
        await while_time_passes(clock, clock.sleep(35))
        network.broken = False
        answer = await while_time_passes(clock, waiting)
    assert answer["counts"]["completed"] == 2
    assert 0 < network.failures <= 3 * 10, "three tries for each step of the schedule"


async def test_a_leader_without_the_backend_delays_other_replicas_at_most_by_its_lease(
    clock: HandClock, redis_server: RedisServer
) -> None:
    backend = sandbox(clock, seconds=30)
    network = FailingTransport(backend)
    values = settings(redis_url=redis_server.url)
    async with serving(values, network, clock) as cut_off, serving(values, backend, clock) as well:
        task_ids = await start(well)
        network.broken = True
        leading = asyncio.create_task(ask(cut_off, task_ids))
        while not network.failures:
            clock.advance(0.25)
            await asyncio.sleep(0.001)
        answer = await while_time_passes(clock, ask(well, task_ids, 35))
        await while_time_passes(clock, leading)
    assert answer["counts"]["completed"] == 2


async def test_a_lease_without_expiry_delays_a_wait_at_most_by_the_lease_time(
    clock: HandClock, redis_server: RedisServer
) -> None:
    backend = sandbox(clock, seconds=30)
    async with serving(settings(redis_url=redis_server.url), backend, clock) as service:
        task_ids = await start(service)
        set_lease_holder(service, redis_server, b"an unknown holder, without expiry")
        answer = await while_time_passes(clock, ask(service, task_ids, 45))
    assert answer["counts"]["completed"] == 2


async def test_events_from_replicas_are_verified_at_the_backend_at_a_limited_rate(clock: HandClock) -> None:
    backend = sandbox(clock, seconds=40)
    async with serving(settings(), backend, clock) as service:
        task_ids = await start(service)
        tenant = service.assembly.authenticator.hash_token("token-a")
        waiting = asyncio.create_task(ask(service, task_ids))
        while not service.assembly.pollers.callers:
            await asyncio.sleep(0.001)
        began = clock()
        while clock() < began + 30:
            for event in (TaskEvent(tenant, missing=task_ids), TaskEvent(tenant, reported_finished=task_ids)):
                await service.assembly.shared.coordination.publish(EventKind.TASKS, pack(event))
            await while_time_passes(clock, clock.sleep(0.5), step=0.25)
        assert not waiting.done()
        assert backend.reads <= 4 + 30 / EARLY_READ_SECONDS, (
            "reads on schedule, and at most one per EARLY_READ_SECONDS besides"
        )
        answer = await while_time_passes(clock, waiting)
    assert answer["counts"]["completed"] == 2


async def test_junk_in_redis_delays_no_wait_and_causes_no_read(
    clock: HandClock, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    backend = sandbox(clock, seconds=30)
    async with serving(settings(redis_url=redis_server.url), backend, clock) as service:
        task_ids, began = await start(service), clock()
        keys, tenant = service.assembly.shared.keys, service.assembly.authenticator.hash_token("token-a")
        polling = service.assembly.backend.description.policy.polling
        waiting = asyncio.create_task(ask(service, task_ids))
        with redis_server.client() as client:
            while not waiting.done():
                unsigned = pack(TaskEvent(tenant, missing=task_ids, reported_finished=task_ids))
                for junk in (b"", b"\xff\xfe", b"tasks\0" + unsigned, unsigned, b"x" * 1_000_000):
                    client.publish(keys.channel(0), junk)
                client.zadd(keys.key(tenant, "awaited"), {b"\xff" * 40: clock() + 50, b"unsigned": clock() + 50})
                await while_time_passes(clock, clock.sleep(1))
                assert backend.reads == 0 or clock() - began >= polling.first_read_seconds, "junk caused a read"
        answer = await waiting
    assert answer["counts"]["completed"] == 2
    assert clock() - began <= 30 + 2 * polling.max_read_interval_seconds
    assert [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"] == []


async def test_a_wait_continues_through_a_restart_of_redis(clock: HandClock, fragile_redis: RedisServer) -> None:
    backend = sandbox(clock, seconds=40)
    async with serving(settings(redis_url=fragile_redis.url), backend, clock) as service:
        task_ids = await start(service)
        waiting = asyncio.create_task(ask(service, task_ids))
        await while_time_passes(clock, clock.sleep(12))
        await asyncio.to_thread(fragile_redis.stop)
        await while_time_passes(clock, clock.sleep(6))
        await asyncio.to_thread(fragile_redis.start)
        answer = await while_time_passes(clock, waiting)
    assert answer["counts"]["completed"] == 2


@pytest.mark.parametrize("era", ["2025-11-25", MODERN])
@pytest.mark.parametrize("accept", ["application/json", "application/json, text/event-stream"])
async def test_a_disconnect_ends_the_clients_own_wait_only(era: str, accept: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock, seconds=30), clock) as service:
        task_ids = await start(service)
        staying = asyncio.create_task(ask(service, task_ids))
        arguments = {"task_ids": task_ids, "wait_seconds": 50}
        message, headers = envelope("tools/call", {"name": "luma_get_tasks_batch", "arguments": arguments}, era)
        leaving = asyncio.create_task(service.post(message, headers={**headers, "accept": accept}))
        await while_time_passes(clock, clock.sleep(3))
        leaving.cancel()
        await asyncio.wait([leaving])
        await until_waiting(service, 1)
        answer = await while_time_passes(clock, staying)
        await until_waiting(service, 0)
    assert answer["counts"]["completed"] == 2


async def until_waiting(service: Service, callers: int) -> None:
    await eventually(lambda: service.assembly.pollers.callers == callers)


@pytest.mark.parametrize("era", ERAS)
async def test_progress_notifications_are_sent_during_a_wait_with_a_progress_token(era: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock, seconds=30), clock) as service:
        task_ids = await start(service)
        params = {
            "name": "luma_get_tasks_batch",
            "arguments": {"task_ids": task_ids, "wait_seconds": 50},
            "_meta": {"progressToken": "p-1"},
        }
        message, headers = envelope("tools/call", params, era)
        headers["accept"] = "application/json, text/event-stream"
        response = await while_time_passes(clock, service.post(message, headers=headers))
    lines = [line for line in response.text.splitlines() if line.startswith("data: ")]
    assert response.headers["content-type"].startswith("text/event-stream")
    told = [line for line in lines if "notifications/progress" in line]
    assert len(told) >= 30 / 10, "at least every ten seconds"
    assert '"progressToken":"p-1"' in told[0]
    assert "0 of 2 finished" in told[0]
    assert '"completed":2' in lines[-1]


async def test_without_a_progress_token_the_answer_is_plain_json(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock, seconds=30), clock) as service:
        params = {"name": "luma_get_tasks_batch", "arguments": {"task_ids": await start(service), "wait_seconds": 50}}
        message, headers = envelope("tools/call", params, MODERN)
        headers["accept"] = "application/json, text/event-stream"
        response = await while_time_passes(clock, service.post(message, headers=headers))
    assert response.headers["content-type"] == "application/json"
