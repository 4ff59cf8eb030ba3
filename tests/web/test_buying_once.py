"""Idempotency keys: one key buys one video, through failures, retries and several replicas."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.behaviour import Behaviour
from app.adapters.sandbox.engine import Sandbox
from tests.support.clock import HandClock, while_time_passes
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.service import FREE, MODERN, SECONDS, envelope, sandbox, serving, settings, text_of

IMAGE = "https://images.example.com/a.png"
KEYED = {"prompt": "A fox", "idempotency_key": "fox-1"}


def spending(backend: Sandbox, clock: HandClock) -> list[tuple[str, dict[str, Any]]]:
    """Return a call of each billable tool; those that need an earlier video get one of the backend."""
    _, record = backend.submit("earlier", {"prompt": "An earlier video"})
    clock.advance(SECONDS)
    return [
        ("luma_generate_video", {"prompt": "A fox"}),
        ("luma_generate_video_from_image", {"prompt": "A fox", "start_image_url": IMAGE}),
        ("luma_extend_video", {"prompt": "It jumps", "video_id": record.video_id}),
        ("luma_extend_video_from_url", {"prompt": "It jumps", "video_url": record.video_url}),
    ]


async def test_the_same_key_returns_the_first_task_on_every_replica(
    clock: HandClock, redis_server: RedisServer, database_url: str
) -> None:
    backend = sandbox(clock)
    values = settings(redis_url=redis_server.url, database_url=database_url)
    calls = spending(backend, clock)
    async with serving(values, backend, clock) as one, serving(values, backend, clock) as other:
        for number, (tool, arguments) in enumerate(calls):
            keyed = {**arguments, "idempotency_key": f"key-{number}"}
            first = await one.ask(tool, keyed)
            again = await other.call(tool, keyed)
            assert again["structuredContent"]["result"]["task_id"] == first["task_id"]
            assert again["structuredContent"]["result"]["replayed"] is True
            assert "Already started" in text_of(again)
            assert "replayed" not in first
    assert backend.submissions("token-a") == len(calls)


async def test_a_refusal_that_cannot_be_compared_with_its_prompt_counts_as_a_refusal(clock: HandClock) -> None:
    backend = sandbox(clock)
    incomparable = {"prompt": "[refuse] &#" + "1" * 4_400, "idempotency_key": "fox-1"}
    async with serving(settings(), backend, clock) as service:
        for _ in range(2):
            assert (await service.fail("luma_generate_video", incomparable))["code"] == "refused"
        clock.advance(2)
        freed = await service.ask("luma_generate_video", KEYED)
    assert "replayed" not in freed


async def test_without_a_key_every_call_buys(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        tasks = {(await service.ask("luma_generate_video", {"prompt": "A fox"}))["task_id"] for _ in range(2)}
    assert len(tasks) == backend.submissions("token-a") == 2


async def test_idempotency_keys_are_scoped_to_their_tenant(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        tasks = {(await service.ask("luma_generate_video", KEYED, token=t))["task_id"] for t in ("token-a", "token-b")}
    assert len(tasks) == 2


@pytest.mark.parametrize("changed", [{"prompt": "A cat"}, {"loop": True}, {"aspect_ratio": "1:1"}])
async def test_the_same_key_with_other_arguments_is_refused(clock: HandClock, changed: dict[str, Any]) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        await service.ask("luma_generate_video", KEYED)
        error = await service.fail("luma_generate_video", {**KEYED, **changed})
    assert error["code"] == "invalid_request"
    assert "other arguments" in error["message"]
    assert backend.submissions("token-a") == 1


async def test_a_key_is_forgotten_after_a_day(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        await service.ask("luma_generate_video", KEYED)
        clock.advance(24 * 3600 + 1)
        again = await service.ask("luma_generate_video", {**KEYED, "prompt": "A cat"})
    assert "replayed" not in again


@pytest.mark.parametrize("key", ["x" * 129])
async def test_a_key_has_1_to_128_characters(clock: HandClock, key: str) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        error = await service.fail("luma_generate_video", {**KEYED, "idempotency_key": key})
    assert error["message"] == "`idempotency_key` must be 1 to 128 characters."


@pytest.mark.parametrize("key", ["", " ", "none", "NULL", "undefined"])
async def test_a_key_that_means_no_value_buys_nothing(clock: HandClock, key: str) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        error = await service.fail("luma_generate_video", {**KEYED, "idempotency_key": key})
    assert error["code"] == "invalid_request"
    assert "Nothing was sent." in error["message"]
    assert backend.submissions("token-a") == 0


async def test_ten_calls_at_once_with_one_key_buy_one_video(
    clock: HandClock, redis_server: RedisServer, database_url: str
) -> None:
    backend = sandbox(clock)
    values = settings(redis_url=redis_server.url, database_url=database_url)
    async with serving(values, backend, clock) as one, serving(values, backend, clock) as other:
        calls = [(one if n % 2 else other).ask("luma_generate_video", KEYED) for n in range(10)]
        results = await while_time_passes(clock, asyncio.gather(*calls), step=0.25)
    assert len({result["task_id"] for result in results}) == 1
    assert backend.submissions("token-a") == 1


async def test_a_definite_refusal_frees_the_key(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        broke = {"prompt": "A fox [broke]", "idempotency_key": "fox-1"}
        assert (await service.fail("luma_generate_video", broke))["code"] == "no_credit"
        assert (await service.ask("luma_generate_video", KEYED))["state"] == "pending"


@pytest.mark.parametrize(
    ("tool", "argument"),
    [
        ("luma_generate_video", {"prompt": "\ud800"}),
        ("luma_generate_video", {"prompt": "A fox", "callback_url": "https://example.com/\ud800"}),
        ("luma_generate_video_from_image", {"prompt": "A fox", "start_image_url": "https://example.com/\ud800"}),
        ("luma_extend_video_from_url", {"prompt": "A fox", "video_url": "https://example.com/\ud800"}),
        ("luma_generate_video", {"prompt": "A fox", "idempotency_key": "\ud800"}),
    ],
)
async def test_text_that_cannot_be_sent_on_is_refused_and_leaves_its_key_free(
    clock: HandClock, tool: str, argument: dict[str, Any]
) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        params = {"name": tool, "arguments": {"idempotency_key": "fox-1", **argument}}
        message, headers = envelope("tools/call", params, MODERN)
        sent = {**headers, "authorization": "Bearer token-a", "content-type": "application/json"}
        answer = await service.http.post(f"{service.url}/mcp", content=json.dumps(message), headers=sent)
        error = answer.json()["result"]["structuredContent"]["result"]["error"]
        assert error["code"] == "invalid_request"
        assert "is not text that can be written" in error["message"]
        assert await service.ask("luma_generate_video", KEYED)


class Breaking(httpx.AsyncBaseTransport):
    """A transport whose connection fails once, before or after the backend has received the submission."""

    def __init__(self, backend: Sandbox, break_at: Callable[[httpx.Request], str]) -> None:
        self._inner = httpx.ASGITransport(sandbox_app(backend))
        self._break_at = break_at

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        where = self._break_at(request)
        if where == "before":
            raise httpx.ConnectError("refused", request=request)
        response = await self._inner.handle_async_request(request)
        if where == "after":
            raise httpx.ReadError("reset", request=request)
        return response


def once(where: str) -> Callable[[httpx.Request], str]:
    broken: list[str] = []

    def break_at(request: httpx.Request) -> str:
        if request.url.path != "/luma/videos" or broken:
            return ""
        broken.append(where)
        return where

    return break_at


def once_only(act: Callable[[], None]) -> Callable[[], None]:
    """Return a function whose first call runs `act`; further calls do nothing."""
    acts = iter([act])

    def next_act() -> None:
        for one in acts:
            one()

    return next_act


def while_sending(act: Callable[[], None]) -> Callable[[httpx.Request], str]:
    """Return a fault that runs an action during each submission, and leaves the connection alone."""

    def break_at(request: httpx.Request) -> str:
        if request.url.path == "/luma/videos":
            act()
        return ""

    return break_at


@pytest.mark.parametrize("number", range(4))
async def test_a_connection_that_breaks_before_sending_can_be_tried_again_with_the_key(
    clock: HandClock, number: int
) -> None:
    backend = sandbox(clock)
    tool, arguments = spending(backend, clock)[number]
    async with serving(settings(), Breaking(backend, once("before")), clock) as service:
        keyed = {**arguments, "idempotency_key": "k"}
        assert "Nothing was sent" in (await service.fail(tool, keyed))["message"]
        assert (await service.ask(tool, keyed))["state"] == "pending"
    assert backend.submissions("token-a") == 1


@pytest.mark.parametrize("number", range(4))
async def test_a_key_with_an_unknown_outcome_does_not_buy_again(clock: HandClock, number: int) -> None:
    backend = sandbox(clock)
    tool, arguments = spending(backend, clock)[number]
    async with serving(settings(), Breaking(backend, once("after")), clock) as service:
        keyed = {**arguments, "idempotency_key": "k"}
        for _ in range(3):
            error = await service.fail(tool, keyed)
            assert error["code"] == "backend_timeout"
            assert "retry_unknown" in error["message"]
            assert "retry_after_seconds" not in error
        assert backend.submissions("token-a") == 1
        assert (await service.ask(tool, {**keyed, "retry_unknown": True}))["state"] == "pending"
        assert (await service.ask(tool, keyed))["replayed"] is True
    assert backend.submissions("token-a") == 2


async def test_a_submission_is_retried_after_429_without_a_second_purchase(clock: HandClock) -> None:
    backend = sandbox(clock, Behaviour(), seconds=8)
    async with serving(settings(), backend, clock) as service:
        calls = [service.ask("luma_generate_video", {"prompt": f"Fox {n}"}) for n in range(10)]
        results = await while_time_passes(clock, asyncio.gather(*calls), step=0.5)
    assert len({result["task_id"] for result in results}) == 10
    clock.advance(SECONDS)
    assert backend.credits("token-a") == pytest.approx(10 * 1.19)


async def test_a_submission_continues_after_its_caller_disconnects(clock: HandClock) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()
    backend = sandbox(clock, FREE)
    inner = httpx.ASGITransport(sandbox_app(backend))

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            arrived.set()
            await go_on.wait()
            return await inner.handle_async_request(request)

    async with serving(settings(), Slow(), clock) as service:
        params = {"name": "luma_generate_video", "arguments": KEYED}
        leaving = asyncio.create_task(service.request("tools/call", params))
        await arrived.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        go_on.set()
        again = await while_time_passes(clock, service.ask("luma_generate_video", KEYED), step=0.25)
    assert again["replayed"] is True
    assert backend.submissions("token-a") == 1


async def test_a_refused_second_attempt_leaves_the_outcome_of_the_first_unknown(clock: HandClock) -> None:
    backend = sandbox(clock, Behaviour(max_in_flight=0))
    async with serving(settings(), Breaking(backend, once("after")), clock) as service:
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"
        retried = service.fail("luma_generate_video", {**KEYED, "retry_unknown": True})
        assert (await while_time_passes(clock, retried, step=5))["code"] == "rate_limited"
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"


@pytest.mark.parametrize("harm", [RedisServer.stop, RedisServer.hang, RedisServer.flush_all])
async def test_a_key_buys_once_when_redis_fails(
    clock: HandClock, fragile_redis: RedisServer, database_url: str, harm: Callable[[RedisServer], None]
) -> None:
    backend = sandbox(clock)
    values = settings(redis_url=fragile_redis.url, database_url=database_url)
    async with (
        serving(values, Breaking(backend, while_sending(once_only(lambda: harm(fragile_redis)))), clock) as one,
        serving(values, backend, clock) as other,
    ):
        first = await one.ask("luma_generate_video", KEYED)
        for replica in (other, one):
            again = await replica.ask("luma_generate_video", KEYED)
            assert (again["task_id"], again["replayed"]) == (first["task_id"], True)
    async with serving(values, backend, clock) as newcomer:
        assert (await newcomer.ask("luma_generate_video", KEYED))["task_id"] == first["task_id"]
    assert backend.submissions("token-a") == 1
    if harm is RedisServer.hang:
        fragile_redis.resume()


async def test_a_key_is_refused_while_the_database_is_unavailable(
    clock: HandClock, fragile_postgres: PostgresServer
) -> None:
    backend = sandbox(clock)
    async with serving(settings(database_url=fragile_postgres.url), backend, clock) as service:
        fragile_postgres.stop()
        error = await service.fail("luma_generate_video", KEYED)
        assert "Nothing was sent" in error["message"]
        assert error["retry_after_seconds"] > 0
        assert backend.submissions("token-a") == 0
        assert (await service.ask("luma_generate_video", {"prompt": "A fox"}))["state"] == "pending"
        fragile_postgres.start()
        assert (await service.ask("luma_generate_video", KEYED))["state"] == "pending"


async def test_an_outcome_is_recorded_after_a_database_outage_during_submission(
    clock: HandClock, fragile_postgres: PostgresServer
) -> None:
    backend = sandbox(clock)
    values = settings(database_url=fragile_postgres.url)
    async with (
        serving(values, Breaking(backend, while_sending(once_only(fragile_postgres.stop))), clock) as one,
        serving(values, backend, clock) as other,
    ):
        first = await one.ask("luma_generate_video", KEYED)
        fragile_postgres.start()
        again = await while_time_passes(clock, other.ask("luma_generate_video", KEYED), step=0.5)
    assert (again["task_id"], again["replayed"]) == (first["task_id"], True)
    assert backend.submissions("token-a") == 1


async def test_replicas_with_other_databases_refuse_keys(
    clock: HandClock, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    backend = sandbox(clock)
    values = settings(redis_url=redis_server.url)
    async with serving(values, backend, clock) as one:
        await one.assembly.persistence.shared.compare()
        async with serving(values, backend, clock) as other:
            await other.assembly.persistence.shared.compare()
            assert "different databases" in (await other.fail("luma_generate_video", KEYED))["message"]
            assert (await one.ask("luma_generate_video", KEYED))["state"] == "pending"
            assert (await other.ask("luma_generate_video", {"prompt": "A fox"}))["state"] == "pending"
    assert "with another database" in caplog.text
