"""Unexpected exceptions: purchases keep their outcome, batches and waits go on, and each fault is logged once."""

import asyncio
import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.memory.coordination import MemoryCoordination
from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.composition.application import assemble
from app.domain.access import Credential
from app.domain.generation import Command, GenerateVideo
from app.mcp_server.tools.rendering import render
from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.token_status import TokenStatusCache
from app.services.purchases.idempotency import PurchaseService
from app.services.purchases.legacy_keys import LegacyIdempotencyKeys
from app.services.purchases.limiter import ConcurrencyLimiter
from app.services.purchases.service import GenerationRequest, VideoService
from app.services.purchases.unaccepted_rows import UnacceptedPurchases
from app.services.tasks.snapshots import TaskSnapshots
from app.web.app import create_app
from tests.support.backends import NoBackend
from tests.support.callers import caller
from tests.support.clock import HandClock, while_time_passes
from tests.support.databases import opened, purchases_at
from tests.support.keeping import RECORDS, SIGNER
from tests.support.limits import rate_limits
from tests.support.service import (
    IMPATIENT,
    MODERN,
    Service,
    envelope,
    listening,
    sandbox,
    serving,
    settings,
    text_of,
)
from tests.support.telemetry import Notes
from tests.support.turns import database_turns

KINDS = pytest.mark.parametrize("kind", [ssl.SSLError, OSError, RuntimeError, ValueError, KeyError])
KEYED = {"prompt": "A fox", "idempotency_key": "fox-number-1"}


class Odd(httpx.AsyncBaseTransport):
    """A transport that raises `kind` after a request was sent, for purchases and for reads of the ids in `broken`."""

    def __init__(self, backend: Sandbox, kind: type[Exception]) -> None:
        self._inner = httpx.ASGITransport(sandbox_app(backend))
        self._kind = kind
        self.broken: set[str] = set()
        self.breaks_purchases = False
        self.purchases = 0
        self.failed_reads = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.url.path.endswith("/videos"):
            self.purchases += 1
            if self.breaks_purchases:
                raise self._kind("odd")
        elif any(task_id.encode() in request.content for task_id in self.broken):
            self.failed_reads += 1
            raise self._kind("odd")
        return response


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


@KINDS
async def test_an_unexpected_exception_during_a_purchase_is_never_an_internal_error(
    clock: HandClock, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    network = Odd(sandbox(clock), kind)
    network.breaks_purchases = True
    async with serving(settings(), network, clock) as service:
        assert (await service.fail("luma_generate_video", {"prompt": "A fox"}))["code"] == "backend_timeout"
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"
        again = await service.call("luma_generate_video", KEYED)  # at once: the clock stands still
        network.breaks_purchases = False
        agreed = await service.ask("luma_generate_video", {**KEYED, "retry_unknown": True})
    assert "retry_unknown" in text_of(again)
    assert again["structuredContent"]["result"]["error"]["code"] == "backend_timeout"
    assert agreed["task_id"]
    assert network.purchases == 3
    assert len(lines(caplog)) == 1, "once in a burst"


@KINDS
async def test_an_unexpected_exception_in_one_chunk_affects_only_its_ids(
    clock: HandClock, kind: type[Exception]
) -> None:
    network = Odd(sandbox(clock, seconds=1000), kind)
    async with serving(settings(), network, clock) as service:
        task_ids = [(await service.ask("luma_generate_video", {"prompt": f"Fox {n}"}))["task_id"] for n in range(53)]
        network.broken = set(task_ids[50:])
        clock.advance(60)
        answer = await service.ask("luma_get_tasks_batch", {"task_ids": task_ids})
    assert {one["task_id"] for one in answer["unavailable"]} == set(task_ids[50:])
    assert len(answer["tasks"]) == 50


@KINDS
async def test_a_wait_through_unexpected_exceptions_keeps_its_schedule_and_logs_once(
    clock: HandClock, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    network = Odd(sandbox(clock, seconds=30), kind)
    async with serving(settings(), network, clock) as service:
        task_ids = [(await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"]]
        network.broken = set(task_ids)
        arguments = {"task_ids": task_ids, "wait_seconds": 50}
        waiting = asyncio.create_task(service.ask("luma_get_tasks_batch", arguments))
        await while_time_passes(clock, clock.sleep(35))
        network.broken = set()
        answer = await while_time_passes(clock, waiting)
    assert answer["counts"]["completed"] == 1
    assert 0 < network.failed_reads <= 10 * 3
    assert len(lines(caplog)) <= 1


class BrokenStore:
    """A store whose operations raise RuntimeError, which its port does not declare."""

    def __init__(self) -> None:
        self.asked = 0

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked += 1
        raise RuntimeError("odd")

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        raise RuntimeError("odd")

    async def remove_many(self, keys: Sequence[str]) -> None:
        raise RuntimeError("odd")

    async def ping(self) -> None:
        raise RuntimeError("odd")


def broken_records(clock: HandClock) -> TaskSnapshots:
    return TaskSnapshots(BrokenStore(), RECORDS, render=render, wall_clock=clock, monotonic_clock=clock)


async def test_the_task_id_of_a_purchase_is_returned_if_no_handle_can_be_made(clock: HandClock) -> None:
    backend, values = sandbox(clock), settings()
    assembly = assemble(
        values,
        base_url="http://127.0.0.1",
        transport=httpx.ASGITransport(sandbox_app(backend)),
        timeouts=IMPATIENT,
        clocks=clock.clocks,
    )
    assembly = replace(assembly, shared=replace(assembly.shared, snapshots=broken_records(clock)))
    async with listening(create_app(values, assembly)) as url, httpx.AsyncClient() as client:
        service = Service(url, assembly, client)
        capable: dict[str, Any] = {
            "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}
        }
        parameters = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}, "_meta": capable}
        message, headers = envelope("tools/call", parameters, MODERN)
        answer: dict[str, Any] = (await service.post(message, headers=headers)).json()
    assert answer["result"]["structuredContent"]["result"]["task_id"]
    assert backend.submissions("token-a") == 1


class Selling(NoBackend):
    """A VideoBackend that accepts every submission."""

    async def submit(self, _credential: Credential, _command: Command) -> str:
        return "task-1"


async def test_the_task_id_of_a_purchase_is_returned_if_it_cannot_be_recorded(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    token_status = TokenStatusCache(clock)
    async with opened(None) as database:
        purchases = PurchaseService(
            purchases_at(database, clock),
            SIGNER,
            LegacyIdempotencyKeys(MemoryCoordination(clock), lambda: 0.0, clock),
            turns=database_turns(),
            key_lives_seconds=86_400.0,
            key_fault=lambda: None,
            unaccepted=UnacceptedPurchases(clock, lambda _owner: True),
            backend=ACEDATACLOUD,
            clock=clock,
            sleep=clock.sleep,
        )
        videos = VideoService(
            Selling(),
            broken_records(clock),
            purchases,
            ConcurrencyLimiter(ACEDATACLOUD, clock, clock.sleep),
            callbacks=None,
            token_status=token_status,
            quota=CallerQuota(QuotaLimits(10, 10, 10), token_status.is_accepted, lambda: None),
            telemetry=Notes(),
            limits=rate_limits(clock),
        )
        for key in (None, "key"):
            bought = await videos.start(caller("tenant"), GenerationRequest(GenerateVideo("A fox"), "print", key))
            assert bought.task_id == "task-1"
    assert len(lines(caplog)) == 1
